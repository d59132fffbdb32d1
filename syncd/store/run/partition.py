"""SQL templates filled with the partition of a contact type and its columns."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, text

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, Contact, ContactType, PhoneNumber
from syncd.store.run.staging import CONTACT_COLUMNS, INDEX_COLUMNS, MEMBER_COLUMNS
from syncd.store.schema.tables import PARTITIONS


def execute(connection: Connection, template: str, type_: ContactType, **values: Any) -> CursorResult[Any]:
    """Execute a template on the partition of a type, with those of the values that it uses as parameters."""
    statement = fill_template(template, type_)
    return connection.execute(text(statement), {n: v for n, v in values.items() if f":{n}" in statement})


def fill_template(template: str, type_: ContactType) -> str:
    """Fill in the names of the partition and of its columns; none of them comes from a value."""
    return template.format(
        partition=PARTITIONS[type_],
        columns=", ".join(CONTACT_COLUMNS),
        staged=", ".join(f"s.{column}" for column in CONTACT_COLUMNS),
        assignments=", ".join(f"{column} = s.{column}" for column in CONTACT_COLUMNS),
        stored_members=", ".join(f"c.{column}" for column in MEMBER_COLUMNS),
        staged_members=", ".join(f"s.{column}" for column in MEMBER_COLUMNS),
        stored_index=", ".join(f"c.{column}" for column in INDEX_COLUMNS),
        staged_index=", ".join(f"s.{column}" for column in INDEX_COLUMNS),
        index_assignments=", ".join(f"{column} = s.{column}" for column in INDEX_COLUMNS),
        old=build_members("c"),
        new=build_members("s"),
    )


def to_contact(columns: Mapping[str, Any]) -> Contact:
    """Return the contact of a row with the columns of `Contact`."""
    values = {name: columns[name] for name in Contact._fields}
    numbers = tuple(PhoneNumber(n["phoneNumber"], n.get("description", "")) for n in values["numbers"])
    lists = {name: tuple(values[name]) for name in LIST_MEMBERS.values()}
    return Contact(**{**values, **lists, "numbers": numbers})


def build_members(alias: str) -> str:
    """Return SQL for the members of a contact as one jsonb object by their JSON names, null where there is no value.

    Stripping the nulls would cost a first load more than storing them; the queries for display strip them.
    """
    texts = [f"'{member}', {alias}.{column}" for member, column in TEXT_MEMBERS.items()]
    lists = [f"'{member}', nullif({alias}.{column}, ARRAY[]::text[])" for member, column in LIST_MEMBERS.items()]
    numbers = f"'phoneNumbers', nullif({alias}.numbers, '[]')"
    return f"jsonb_build_object({', '.join([*texts, numbers, *lists])})"
