"""The endpoint that looks up contacts by phone number."""

from collections.abc import Iterable

from starlette.responses import Response

from syncd.core.contacts import contact_json
from syncd.core.contacts import query as query_string
from syncd.core.contacts.lookup import check_numbers
from syncd.core.contacts.models import ROLES
from syncd.web import responses
from syncd.web.ports import NumberLookup
from syncd.web.routing import BASE, Endpoint, RequestContext, Route


class LookupEndpoints:
    """GET on contacts/lookup."""

    def __init__(self, lookup: NumberLookup) -> None:
        self._lookup = lookup

    def routes(self) -> Iterable[Route[RequestContext]]:
        """Return the routes of this endpoint."""
        return (Route(f"{BASE}/contacts/lookup", {"GET": Endpoint(self.look_up, ROLES, cacheable=True)}),)

    async def look_up(self, context: RequestContext) -> Response:
        """Return the contacts of each number with the kind of match, in the order of the request."""
        params = query_string.parse_parameters(context.query, ("number", "fields"))
        fields = query_string.parse_fields(params)
        numbers = check_numbers(query_string.split_values(params, "number"))
        owners = await self._lookup.find_owners(numbers)
        lookups = [
            {
                "number": number,
                "matches": [
                    {"match": owner.match, "contact": contact_json.select_members(owner.contact, context.base, fields)}
                    for owner in owners[number]
                ],
            }
            for number in numbers
        ]
        return responses.ok({"lookups": lookups})
