"""Origins of web pages, in one spelling."""

import pytest

from syncd.core.operations.web_origin import normalize_origin


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://a.example", "https://a.example"), ("HTTPS://A.Example", "https://a.example"),
        ("https://a.example:443", "https://a.example"), ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"), ("https://a.example:80", "https://a.example:80"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"), ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://[::1]", "http://[::1]"), ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ("app://localhost", "app://localhost"), ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    ],
)  # fmt: skip
def test_origins_are_normalized(text: str, origin: str) -> None:
    """Lower case, and without the default port of the scheme; then the result is stable."""
    assert normalize_origin(text) == origin
    assert normalize_origin(origin) == origin


@pytest.mark.parametrize(
    "text",
    ["", "null", "*", "a.example", "//a.example", "https://", "https://a.example/", "https://a.example/x", "https://*",
     "https://*.example", "https://u@a.example", "https://a.example:", "https://a.example:123456", "https://a b",
     "https://a.example https://b.example", "https://a.example, https://b.example", "https://münchen.example",
     "file://", "https://a.example?x", "https://a.example\n", "https://::1", "https://" + "a" * 254],
)  # fmt: skip
def test_anything_else_is_no_origin(text: str) -> None:
    """URLs with more than an origin, wildcards, lists, and `null`."""
    assert normalize_origin(text) is None
