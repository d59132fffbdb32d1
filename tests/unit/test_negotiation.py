"""Which form an answer takes."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.query import Format
from syncd.core.files.serializers import FORMS, Cards, Json, Sheet
from syncd.web.negotiation import chosen, headers


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Json),
        ("*/*", Json),
        ("text/html, application/xhtml+xml, */*;q=0.8", Json),
        ("text/csv", Sheet),
        ("TEXT/CSV", Sheet),
        ("text/csv; header=present", Sheet),
        ("text/vcard", Cards),
        ("text/*", Sheet),
        ("text/*, text/csv;q=0.5", Cards),
        ("text/csv;q=0.5, text/vcard; q=0.7 , */*;q=0.1", Cards),
        ("application/json;q=0.2, text/csv;q=0.3", Sheet),
        ("*/*;q=0.9, application/json;q=0", Sheet),
        ("text/csv, application/json", Json),
        ("image/png", Json),
        ("text/csv;q=0", Json),
        ("text/csv;q=much", Json),
        ("text/csv;q=7, application/json;q=0.9", Sheet),
        (";;,,/,text/,=,text/csv", Sheet),
    ],
)
def test_the_best_of_what_is_accepted(accept: str, form: type) -> None:
    """The more precise range decides, then quality, then our order; who accepts nothing of ours gets JSON."""
    assert chosen(None, accept) is form


@given(st.text(), st.sampled_from(get_args(Format)))
def test_the_query_wins(accept: str, name: Format) -> None:
    """And no header is an error."""
    assert chosen(name, accept) is FORMS[name]
    assert chosen(None, accept) in FORMS.values()


def test_a_form_for_people_is_saved_under_a_name() -> None:
    assert headers(Sheet("", None), "contacts") == {
        "Content-Type": "text/csv; charset=utf-8; header=present",
        "Content-Disposition": 'attachment; filename="contacts.csv"',
    }
    assert headers(Cards("", None), "x") == {
        "Content-Type": "text/vcard; charset=utf-8",
        "Content-Disposition": 'attachment; filename="x.vcf"',
    }
    assert headers(Json("", None), "contacts") == {"Content-Type": "application/json"}
