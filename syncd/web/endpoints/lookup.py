"""Whose a number is: GET on contacts/lookup."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from starlette.responses import Response

from syncd.core.contacts import contact_json
from syncd.core.contacts import query as asked
from syncd.core.contacts.lookup import Owners, wanted
from syncd.core.contacts.models import ROLES
from syncd.web import responses
from syncd.web.routing import BASE, Call, Operation, Place


class Numbers(Protocol):
    """Looking numbers up."""

    async def owners(self, numbers: Sequence[str]) -> Owners:
        """The contacts that have each number, best match first."""


class Lookup:
    """The operation, over whoever knows the numbers."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def places(self) -> Iterable[Place]:
        """Where it is found."""
        return (Place(f"{BASE}/contacts/lookup", {"GET": Operation(self.owners, ROLES, by_revision=True)}),)

    async def owners(self, call: Call) -> Response:
        """The contacts that have each of the numbers, in the order of the request, with the kind of match."""
        given = asked.parameters(call.query, ("number", "fields"))
        fields = asked.fields(given)
        numbers = wanted(asked.values(given, "number"))
        found = await self._numbers.owners(numbers)
        lookups = [
            {
                "number": number,
                "matches": [
                    {"match": owner.match, "contact": contact_json.selected(owner.contact, call.base, fields)}
                    for owner in found[number]
                ],
            }
            for number in numbers
        ]
        return responses.done({"lookups": lookups})
