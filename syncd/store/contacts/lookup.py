"""Lookup of the owners of phone numbers: one statement for all numbers of a request."""

import json
from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from syncd.core.contacts.lookup import MATCH_KINDS, MAX_OWNERS, Owner, Owners
from syncd.core.contacts.models import StoredContact
from syncd.core.contacts.phone_number import lookup_keys
from syncd.store.connection.transactions import Sessions

# The suffixes select by index; the keys of `core.contacts.phone_number` are compared. Of two strings of digits one has
# to end with the other. Types are in the order User, Queue, Custom.
_SELECT_OWNERS = text("""
SELECT asked.number, owner.*
  FROM jsonb_to_recordset(CAST(:asked AS jsonb))
       AS asked(number text, dialled text, e164 text[], digits text, suffixes text[]),
       LATERAL (
       SELECT CASE WHEN c.dialled @> ARRAY[asked.dialled] THEN 0
                   WHEN c.dialled && asked.e164 THEN 1 ELSE 2 END AS match,
              replace(c.id::text, '-', '') AS id, c.type, c.name, c.numbers, c.user_name, c.first_name, c.last_name,
              c.employee_id, c.email_address, c.roles, c.business_units, c.channel
         FROM contact c
        WHERE c.served AND c.tails && asked.suffixes
          AND (c.dialled @> ARRAY[asked.dialled] OR c.dialled && asked.e164
               OR asked.digits <> '' AND EXISTS (
                  SELECT FROM unnest(c.dialled) AS key, split_part(substr(key, 2), ';', 1) AS digits
                   WHERE left(key, 1) IN ('+', '-')
                     AND (right(digits, length(asked.digits)) = asked.digits
                          OR right(asked.digits, length(digits)) = digits AND length(digits) >= 7)))
        ORDER BY match, c.type DESC, c.id
        LIMIT :most) AS owner
""")


class NumberLookup:
    """Owners of phone numbers; the numbers may be written as in any of the regions."""

    def __init__(self, engine: AsyncEngine, regions: Collection[str] = ()) -> None:
        self._sessions = Sessions(engine)
        self._regions = regions

    async def find_owners(self, numbers: Sequence[str]) -> Owners:
        """Return the contacts that have each number, best match first. Raises StoreUnavailable."""
        owners: dict[str, list[Owner]] = {number: [] for number in numbers}
        lookups = [lookup_keys(number, self._regions)._asdict() | {"number": number} for number in numbers]
        async with self._sessions.autocommit() as connection:
            rows = await connection.execute(_SELECT_OWNERS, {"asked": json.dumps(lookups), "most": MAX_OWNERS})
        for number, match, *contact in rows:
            owners[number].append(Owner(MATCH_KINDS[match], StoredContact._make(contact)))
        return owners
