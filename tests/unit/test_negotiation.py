"""Content negotiation: the format of a response."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.query import Format
from syncd.core.files.serializers import SERIALIZERS, CsvSerializer, JsonSerializer, VcardSerializer
from syncd.web.negotiation import content_headers, select_serializer


@pytest.mark.parametrize(
    ("accept", "serializer"),
    [
        ("", JsonSerializer),
        ("*/*", JsonSerializer),
        ("text/html, application/xhtml+xml, */*;q=0.8", JsonSerializer),
        ("text/csv", CsvSerializer),
        ("TEXT/CSV", CsvSerializer),
        ("text/csv; header=present", CsvSerializer),
        ("text/vcard", VcardSerializer),
        ("text/*", CsvSerializer),
        ("text/*, text/csv;q=0.5", VcardSerializer),
        ("text/csv;q=0.5, text/vcard; q=0.7 , */*;q=0.1", VcardSerializer),
        ("application/json;q=0.2, text/csv;q=0.3", CsvSerializer),
        ("*/*;q=0.9, application/json;q=0", CsvSerializer),
        ("text/csv, application/json", JsonSerializer),
        ("image/png", JsonSerializer),
        ("text/csv;q=0", JsonSerializer),
        ("text/csv;q=much", JsonSerializer),
        ("text/csv;q=7, application/json;q=0.9", CsvSerializer),
        (";;,,/,text/,=,text/csv", CsvSerializer),
    ],
)
def test_the_best_of_what_is_accepted(accept: str, serializer: type) -> None:
    """The most specific range decides, then the quality, then the server's order; without a match it is JSON."""
    assert select_serializer(None, accept) is serializer


@given(st.text(), st.sampled_from(get_args(Format)))
def test_the_query_wins(accept: str, name: Format) -> None:
    """The parameter `format` overrides Accept, and no value of Accept is an error."""
    assert select_serializer(name, accept) is SERIALIZERS[name]
    assert select_serializer(None, accept) in SERIALIZERS.values()


def test_a_form_for_people_is_saved_under_a_name() -> None:
    assert content_headers(CsvSerializer("", None), "contacts") == {
        "Content-Type": "text/csv; charset=utf-8; header=present",
        "Content-Disposition": 'attachment; filename="contacts.csv"',
    }
    assert content_headers(VcardSerializer("", None), "x") == {
        "Content-Type": "text/vcard; charset=utf-8",
        "Content-Disposition": 'attachment; filename="x.vcf"',
    }
    assert content_headers(JsonSerializer("", None), "contacts") == {"Content-Type": "application/json"}
