"""Origins of web pages: scheme, host and port (RFC 6454)."""

import re

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def normalize_origin(text: str) -> str | None:
    """Return an origin in the form in which browsers send it: lower case, without the default port of its scheme.

    None for anything else, such as a URL with a path, `*`, or `null`, the origin of pages that have none.
    """
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"
