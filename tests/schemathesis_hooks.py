"""What schemathesis has to know beyond the document: files as people have them, and what JSON Schema cannot say.

It loads this module by itself, as its hooks.
"""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from syncd.core.contacts.search import sought
from syncd.core.operations.freshness import MAX_AGE
from syncd.errors import InvalidParameter

SHEETS = [b"name,phoneNumber\r\nReception,+1 555 010 1000\r\n", b"name,phoneNumber\nA,1\nB,2\n"]
CARDS = [b"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Reception\r\nTEL:+1 555 010 1000\r\nEND:VCARD\r\n"]

OLDEST = 10**9

schemathesis.openapi.media_type("text/csv", st.sampled_from(SHEETS))
schemathesis.openapi.media_type("text/vcard", st.sampled_from(CARDS))


@schemathesis.hook
def map_headers(_: Any, headers: Any) -> Any:
    """An age that nothing can have: a smaller one is refused with 503, and rightly so, which is no server's error."""
    if headers and MAX_AGE in headers and str(headers[MAX_AGE]).isdecimal():
        headers[MAX_AGE] = str(OLDEST)
    return headers


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Leave out what is refused for a reason that OpenAPI 3.1 has no words for; other tests show these refusals.

    The contract says of filterName: "Missing filterParameters: 400 code 1", and parameters cannot depend on each other
    in a document. Neither can it count the words of q, or know how old the directory is.
    """
    query, age = case.query or {}, str((case.headers or {}).get(MAX_AGE, ""))
    if bool(query.get("filterName")) != bool(query.get("filterParameters")):
        return False
    if age.isdecimal() and int(age) < OLDEST:
        return False
    try:
        sought(str(query.get("q", ""))[:100])
    except InvalidParameter:
        return False
    return True
