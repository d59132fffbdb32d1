"""Which form an answer takes: what the query says, else what the client accepts best (RFC 9110, 12.5.1)."""

from collections.abc import Iterator
from typing import NamedTuple

from syncd.core.contacts.query import Format
from syncd.core.files.serializers import FORMS, Form, Json


class Range(NamedTuple):
    """One media range of an Accept header."""

    type: str
    subtype: str
    quality: float

    @property
    def precision(self) -> int:
        """The more precise range decides about a media type."""
        return (self.type != "*") + (self.subtype != "*")

    def takes(self, media: str) -> bool:
        """Whether a media type, without parameters, lies in the range."""
        type_, _, subtype = media.partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


def chosen(format_: Format | None, accept: str) -> type[Form]:
    """The form to answer in. A client that accepts none gets the first of them, as one that does not say."""
    if format_ is not None:
        return FORMS[format_]
    ranges = sorted(_ranges(accept), key=lambda one: one.precision, reverse=True)
    qualities = {name: _quality(form, ranges) for name, form in FORMS.items()}
    return FORMS[max(qualities, key=lambda name: qualities[name])]  # of equals the first


def headers(form: Form, name: str) -> dict[str, str]:
    """What an answer in this form carries; a browser saves a file for people under this name (RFC 6266)."""
    saved = {} if isinstance(form, Json) else {"Content-Disposition": f'attachment; filename="{name}{form.ending}"'}
    return {"Content-Type": form.media, **saved}


def _quality(form: type[Form], ranges: list[Range]) -> float:
    media = form.media.partition(";")[0]
    return next((one.quality for one in ranges if one.takes(media)), 0.0)


def _ranges(accept: str) -> Iterator[Range]:
    """What cannot be understood is passed over."""
    for item in accept.lower().split(","):
        media, *parameters = (word.strip() for word in item.split(";"))
        type_, _, subtype = media.partition("/")
        if type_ and subtype:
            yield Range(type_, subtype, _weight(parameters))


def _weight(parameters: list[str]) -> float:
    """The parameter q (RFC 9110, 12.4.2): from 0, not acceptable, to 1."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
