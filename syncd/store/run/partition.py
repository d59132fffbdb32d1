"""Statements on the partition that holds a type of contact: its name and columns filled into a template."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, CursorResult, text

from syncd.core.contacts.contact import LIST_MEMBERS, TEXT_MEMBERS, Contact, Number, Type
from syncd.store.run.staging import CONTACT_COLUMNS, INDEX_COLUMNS, MEMBER_COLUMNS
from syncd.store.schema.tables import PARTITIONS


def execute(connection: Connection, template: str, type_: Type, **values: Any) -> CursorResult[Any]:
    """Run a statement on the partition of a type with those of the values that it names."""
    statement = sql(template, type_)
    return connection.execute(text(statement), {n: v for n, v in values.items() if f":{n}" in statement})


def sql(template: str, type_: Type) -> str:
    """Fill in the names of the partition and of its columns: all of them ours, none of them a value."""
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
        old=members("c"),
        new=members("s"),
    )


def contact_from(columns: Mapping[str, Any]) -> Contact:
    """The contact that these columns hold."""
    values = {name: columns[name] for name in Contact._fields}
    numbers = tuple(Number(n["phoneNumber"], n.get("description", "")) for n in values["numbers"])
    lists = {name: tuple(values[name]) for name in LIST_MEMBERS.values()}
    return Contact(**{**values, **lists, "numbers": numbers})


def members(alias: str) -> str:
    """SQL for the members of a contact as one jsonb object by their wire names, null where there is no value.

    To leave the nulls out costs a first load more than to store them: whoever shows them to people does that.
    """
    texts = [f"'{member}', {alias}.{column}" for member, column in TEXT_MEMBERS.items()]
    lists = [f"'{member}', nullif({alias}.{column}, ARRAY[]::text[])" for member, column in LIST_MEMBERS.items()]
    numbers = f"'phoneNumbers', nullif({alias}.numbers, '[]')"
    return f"jsonb_build_object({', '.join([*texts, numbers, *lists])})"
