"""Staging: what a run has read, streamed by COPY into temporary tables of the one connection that may write it."""

import json
import struct
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring as _quote
from typing import Any

import psycopg
from sqlalchemy import Connection

from syncd.core.contacts.contact import Number, Type, index
from syncd.core.contacts.text import legible
from syncd.core.sync.plan import Item, Staged
from syncd.core.sync.record import Recognition, Reject
from syncd.store.schema.tables import PARTITIONS

MEMBER_COLUMNS = (
    "name", "numbers", "user_name", "first_name", "last_name", "employee_id", "email_address", "channel", "roles",
    "business_units",
)  # fmt: skip
"""The columns of a contact that its source decides."""
INDEX_COLUMNS = ("name_folded", "first_name_folded", "last_name_folded", "search", "dialled", "tails")
"""Those that are made of them, to find and sort it."""
CONTACT_COLUMNS = MEMBER_COLUMNS + INDEX_COLUMNS
"""Both, in the order of the stage table."""

_STAGE = ("source_key", "place", "reason", "record", "digest", "had", *CONTACT_COLUMNS)

_TABLES = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage AS
    SELECT source_key, name AS place, name AS reason, numbers AS record, digest, had, {columns}
      FROM contact WITH NO DATA;
CREATE TEMPORARY TABLE IF NOT EXISTS unseen (digest bytea);
TRUNCATE stage, unseen;
"""

_BLOCK = 1 << 16


def recognition(connection: Connection, source: str, type_: Type, seal: bytes) -> Recognition:
    """The digests of the source's served contacts, to be crossed off while reading.

    They come by binary COPY, because a hundred thousand driver rows would cost more than the read itself.
    """
    query = (
        f"COPY (SELECT digest FROM {PARTITIONS[type_]} WHERE source = %s AND state = 'active' AND digest IS NOT NULL) "  # noqa: S608 - a partition's name of ours
        "TO STDOUT (FORMAT binary)"
    )
    digests: set[bytes] = set()
    header = 19  # signature, flags, length of an extension that is never there
    row = struct.Struct(">hi16s")
    with _driver(connection).cursor() as cursor, cursor.copy(query, (source,)) as copy:
        rest = b""
        for block in copy:
            data = rest + bytes(block)
            if header:
                data, header = data[header:], 0
            whole = len(data) - len(data) % row.size
            digests.update(digest for _, _, digest in row.iter_unpack(data[:whole]))
            rest = data[whole:]
    connection.commit()
    return Recognition(seal, digests)


def stage(connection: Connection, type_: Type, region: str, items: Iterable[Item]) -> None:
    """Replace what is staged by these items. An exception of the iterable leaves nothing staged.

    `region` is where numbers without country code belong; empty for nowhere.
    """
    connection.exec_driver_sql(_TABLES.format(columns=", ".join(CONTACT_COLUMNS)))
    stage_again(connection, type_, region, items)
    connection.commit()


def stage_again(connection: Connection, type_: Type, region: str, items: Iterable[Item]) -> None:
    """Add these items to what is staged, within the transaction of a plan."""
    _copy(connection, f"COPY stage ({', '.join(_STAGE)}) FROM STDIN", (_line(type_, region, item) for item in items))


def stage_unseen(connection: Connection, unseen: set[bytes]) -> None:
    """Stage the digests of the contacts that the source did not send as they are stored."""
    _copy(connection, "COPY unseen (digest) FROM STDIN", (f"\\\\x{digest.hex()}\n" for digest in unseen))


def _copy(connection: Connection, statement: str, lines: Iterator[str]) -> None:
    """Send lines in blocks: one call of the driver for each block, not for each row."""
    with _driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        block: list[str] = []
        size = 0
        for line in lines:
            block.append(line)
            size += len(line)
            if size > _BLOCK:
                copy.write("".join(block))
                block, size = [], 0
        copy.write("".join(block))


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("staging needs a psycopg connection")
    return driver


_BETWEEN = "\x01"  # in no value: the mapping refuses control characters, and rejects are made legible
_ABSENT = "\x02"


def _line(type_: Type, region: str, item: Item) -> str:
    """One row in COPY's text form; the marks become its tab and its NULL only after everything else is escaped."""
    fields = _reject_fields(item) if isinstance(item, Reject) else _staged_fields(type_, region, item)
    row = _BETWEEN.join(fields).replace("\\", "\\\\").replace("\n", "\\n")
    return row.replace(_BETWEEN, "\t").replace(_ABSENT, "\\N") + "\n"


def _reject_fields(reject: Reject) -> list[str]:
    record = {name: [legible(value) for value in values] for name, values in reject.values.items()}
    known = [
        _ABSENT if reject.key is None else legible(reject.key),
        legible(reject.place),
        legible(reject.reason),
        json.dumps(record, ensure_ascii=False),
    ]
    return known + [_ABSENT] * (len(_STAGE) - len(known))


def _staged_fields(type_: Type, region: str, staged: Staged) -> list[str]:
    key, place, digest, contact, had = staged
    name, numbers, *texts, roles, business_units = contact
    name_folded, first_name_folded, last_name_folded, search, dialled, tails = index(type_, contact, region)
    return [
        key,
        legible(place),
        _ABSENT,
        _ABSENT,
        "\\x" + digest.hex() if digest else _ABSENT,
        str(had),
        name,
        _numbers(numbers),
        *[text or _ABSENT for text in texts],
        _array(roles),
        _array(business_units),
        name_folded,
        first_name_folded or _ABSENT,
        last_name_folded or _ABSENT,
        search,
        _array(dialled),
        _array(tails),
    ]


def _numbers(numbers: tuple[Number, ...]) -> str:
    """The jsonb of a contact's numbers."""
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


def _array(values: tuple[str, ...]) -> str:
    """An array literal. JSON's quoting is also that of array literals as long as there are no control characters."""
    return "{" + ",".join(map(_quote, values)) + "}" if values else "{}"
