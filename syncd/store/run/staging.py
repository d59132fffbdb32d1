"""Staging of the items of a run: streamed by COPY into temporary tables of the connection that writes them."""

import json
import struct
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring as _quote
from typing import Any

import psycopg
from sqlalchemy import Connection

from syncd.core.contacts.contact import ContactType, PhoneNumber, build_index
from syncd.core.contacts.text import replace_controls
from syncd.core.sync.plan import Item, Staged
from syncd.core.sync.record import KnownDigests, Reject
from syncd.store.schema.tables import PARTITIONS

MEMBER_COLUMNS = (
    "name", "numbers", "user_name", "first_name", "last_name", "employee_id", "email_address", "channel", "roles",
    "business_units",
)  # fmt: skip
"""Columns of a contact that come from its source."""
INDEX_COLUMNS = ("name_folded", "first_name_folded", "last_name_folded", "search", "dialled", "tails")
"""Columns computed from the member columns, for search and sorting."""
CONTACT_COLUMNS = MEMBER_COLUMNS + INDEX_COLUMNS
"""Both, in the order of the table `stage`."""

_STAGE_COLUMNS = ("source_key", "place", "reason", "record", "digest", "had", *CONTACT_COLUMNS)

_CREATE_TABLES = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage AS
    SELECT source_key, name AS place, name AS reason, numbers AS record, digest, had, {columns}
      FROM contact WITH NO DATA;
CREATE TEMPORARY TABLE IF NOT EXISTS unseen (digest bytea);
TRUNCATE stage, unseen;
"""

_BLOCK_SIZE = 1 << 16


def load_digests(connection: Connection, source: str, type_: ContactType, fingerprint: bytes) -> KnownDigests:
    """Load the digests of the active contacts of a source. `fingerprint`: 16 bytes, see `KnownDigests`.

    Binary COPY is used, because 100,000 rows of the driver would cost more than reading the source.
    """
    query = (
        f"COPY (SELECT digest FROM {PARTITIONS[type_]} WHERE source = %s AND state = 'active' AND digest IS NOT NULL) "  # noqa: S608 - a partition's name of ours
        "TO STDOUT (FORMAT binary)"
    )
    digests: set[bytes] = set()
    header = 19  # signature, flags, length of the header extension, which is always empty
    row = struct.Struct(">hi16s")
    with _driver_connection(connection).cursor() as cursor, cursor.copy(query, (source,)) as copy:
        rest = b""
        for block in copy:
            data = rest + bytes(block)
            if header:
                data, header = data[header:], 0
            whole = len(data) - len(data) % row.size
            digests.update(digest for _, _, digest in row.iter_unpack(data[:whole]))
            rest = data[whole:]
    connection.commit()
    return KnownDigests(fingerprint, digests)


def stage(connection: Connection, type_: ContactType, region: str, items: Iterable[Item]) -> None:
    """Stage these items in place of any staged before. An exception of the iterable leaves nothing staged.

    `region`: region of the numbers without country code; empty for none.
    """
    connection.exec_driver_sql(_CREATE_TABLES.format(columns=", ".join(CONTACT_COLUMNS)))
    append_items(connection, type_, region, items)
    connection.commit()


def append_items(connection: Connection, type_: ContactType, region: str, items: Iterable[Item]) -> None:
    """Add items to the staged ones, within the transaction of a plan."""
    _copy(
        connection,
        f"COPY stage ({', '.join(_STAGE_COLUMNS)}) FROM STDIN",
        (_encode_row(type_, region, item) for item in items),
    )


def stage_remaining(connection: Connection, remaining: set[bytes]) -> None:
    """Stage the digests of the stored contacts that the read did not match."""
    _copy(connection, "COPY unseen (digest) FROM STDIN", (f"\\\\x{digest.hex()}\n" for digest in remaining))


def _copy(connection: Connection, statement: str, lines: Iterator[str]) -> None:
    """Send lines in blocks of 64 KiB: one call of the driver per block, not per row."""
    with _driver_connection(connection).cursor() as cursor, cursor.copy(statement) as copy:
        block: list[str] = []
        size = 0
        for line in lines:
            block.append(line)
            size += len(line)
            if size > _BLOCK_SIZE:
                copy.write("".join(block))
                block, size = [], 0
        copy.write("".join(block))


def _driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("staging requires a psycopg connection")
    return driver


_FIELD_MARK = "\x01"  # in no value: the mapping rejects control characters, and rejects are made legible
_NULL_MARK = "\x02"


def _encode_row(type_: ContactType, region: str, item: Item) -> str:
    """Encode a row in the text format of COPY; the marks become tab and NULL after everything else is escaped."""
    fields = _encode_reject(item) if isinstance(item, Reject) else _encode_staged(type_, region, item)
    row = _FIELD_MARK.join(fields).replace("\\", "\\\\").replace("\n", "\\n")
    return row.replace(_FIELD_MARK, "\t").replace(_NULL_MARK, "\\N") + "\n"


def _encode_reject(reject: Reject) -> list[str]:
    record = {name: [replace_controls(value) for value in values] for name, values in reject.values.items()}
    fields = [
        _NULL_MARK if reject.key is None else replace_controls(reject.key),
        replace_controls(reject.location),
        replace_controls(reject.reason),
        json.dumps(record, ensure_ascii=False),
    ]
    return fields + [_NULL_MARK] * (len(_STAGE_COLUMNS) - len(fields))


def _encode_staged(type_: ContactType, region: str, staged: Staged) -> list[str]:
    key, place, digest, contact, had = staged
    name, numbers, *texts, roles, business_units = contact
    name_folded, first_name_folded, last_name_folded, search, dialled, tails = build_index(type_, contact, region)
    return [
        key,
        replace_controls(place),
        _NULL_MARK,
        _NULL_MARK,
        "\\x" + digest.hex() if digest else _NULL_MARK,
        str(had),
        name,
        _encode_numbers(numbers),
        *[text or _NULL_MARK for text in texts],
        _encode_array(roles),
        _encode_array(business_units),
        name_folded,
        first_name_folded or _NULL_MARK,
        last_name_folded or _NULL_MARK,
        search,
        _encode_array(dialled),
        _encode_array(tails),
    ]


def _encode_numbers(numbers: tuple[PhoneNumber, ...]) -> str:
    """Encode numbers as JSON."""
    return (
        "["
        + ", ".join(
            [
                f'{{"phoneNumber": {_quote(number)}, "description": {_quote(description)}}}'
                if description
                else f'{{"phoneNumber": {_quote(number)}}}'
                for number, description in numbers
            ]
        )
        + "]"
    )


def _encode_array(values: tuple[str, ...]) -> str:
    """Encode an array literal. JSON quoting is valid in it as long as there are no control characters."""
    return "{" + ",".join(map(_quote, values)) + "}" if values else "{}"
