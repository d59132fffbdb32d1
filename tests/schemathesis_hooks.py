"""Hooks of schemathesis: sample files for imports, and constraints that JSON Schema cannot express.

schemathesis loads this module by its path.
"""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from syncd.core.contacts.search import parse_search
from syncd.core.operations.freshness import MAX_AGE
from syncd.errors import InvalidParameter

CSV_BODIES = [b"name,phoneNumber\r\nReception,+1 555 010 1000\r\n", b"name,phoneNumber\nA,1\nB,2\n"]
VCARD_BODIES = [b"BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Reception\r\nTEL:+1 555 010 1000\r\nEND:VCARD\r\n"]

UNREACHABLE_AGE = 10**9

schemathesis.openapi.media_type("text/csv", st.sampled_from(CSV_BODIES))
schemathesis.openapi.media_type("text/vcard", st.sampled_from(VCARD_BODIES))


@schemathesis.hook
def map_headers(_: Any, headers: Any) -> Any:
    """Replace a maximum age by one that is never exceeded: a smaller one is rightly rejected with 503."""
    if headers and MAX_AGE in headers and str(headers[MAX_AGE]).isdecimal():
        headers[MAX_AGE] = str(UNREACHABLE_AGE)
    return headers


@schemathesis.hook
def filter_case(_: Any, case: Any) -> bool:
    """Leave out cases that are rejected for a reason that OpenAPI 3.1 cannot express; other tests cover them.

    The contract says of filterName: "Missing filterParameters: 400 code 1", and parameters cannot depend on each other
    in a document. Nor can a document count the words of q, or know the age of the directory.
    """
    query, age = case.query or {}, str((case.headers or {}).get(MAX_AGE, ""))
    if bool(query.get("filterName")) != bool(query.get("filterParameters")):
        return False
    if age.isdecimal() and int(age) < UNREACHABLE_AGE:
        return False
    try:
        parse_search(str(query.get("q", ""))[:100])
    except InvalidParameter:
        return False
    return True
