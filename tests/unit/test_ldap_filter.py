"""The filter of a source: sent as written, or told to be wrong before anything is sent."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.utils.asn1 import encode

from syncd.sources.ldap.fault import Fault
from syncd.sources.ldap.session import Question, search_request

PIECES = st.lists(
    st.sampled_from(["(", ")", "&", "|", "!", "=", "*", "cn", ":", "~", ">", "\\2a", "\\zz", "ü", " "]), max_size=12
)


@pytest.mark.parametrize("text", ["", "()", "(cn)", "(&)", "((cn=a))", "(cn=a)(sn=b)", "(=a)", "(cn=a", r"(cn=\zz)"])
def test_what_is_no_filter_is_a_fault(text: str) -> None:
    """The fault has the code `filter` and quotes the filter, whatever ldap3 makes of it."""
    with pytest.raises(Fault) as fault:
        encode(search_request(Question("dc=x", "subtree", text, ["cn"])))

    assert fault.value.code == "filter"
    assert repr(text) in fault.value.what


@settings(deadline=None)  # a busy machine is no failure
@given(PIECES)
def test_no_filter_raises_anything_else(pieces: list[str]) -> None:
    """Any text is a request or that fault."""
    with contextlib.suppress(Fault):
        assert encode(search_request(Question("dc=x", "subtree", "(" + "".join(pieces) + ")", ["cn"])))
