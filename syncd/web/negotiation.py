"""Content negotiation: the format of a response by the query, else by the header Accept (RFC 9110, 12.5.1)."""

from collections.abc import Iterator
from typing import NamedTuple

from syncd.core.contacts.query import Format
from syncd.core.files.serializers import SERIALIZERS, JsonSerializer, Serializer


class MediaRange(NamedTuple):
    """One media range of an Accept header."""

    type: str
    subtype: str
    quality: float

    @property
    def specificity(self) -> int:
        """0 for */*, 1 for type/*, 2 for type/subtype; the most specific range decides (RFC 9110, 12.5.1)."""
        return (self.type != "*") + (self.subtype != "*")

    def matches(self, media: str) -> bool:
        """Whether the range contains a media type, given without parameters."""
        type_, _, subtype = media.partition("/")
        return self.type in ("*", type_) and self.subtype in ("*", subtype)


def select_serializer(format_: Format | None, accept: str) -> type[Serializer]:
    """Return the serializer for `format_`, else for the header Accept.

    A client that accepts no format, or sends no Accept, gets the first one.
    """
    if format_ is not None:
        return SERIALIZERS[format_]
    ranges = sorted(_parse_accept(accept), key=lambda range_: range_.specificity, reverse=True)
    qualities = {name: _quality(form, ranges) for name, form in SERIALIZERS.items()}
    return SERIALIZERS[max(qualities, key=lambda name: qualities[name])]  # the first of equals


def content_headers(form: Serializer, name: str) -> dict[str, str]:
    """Return Content-Type and, unless it is JSON, Content-Disposition with `name` as file name (RFC 6266)."""
    disposition = (
        {}
        if isinstance(form, JsonSerializer)
        else {"Content-Disposition": f'attachment; filename="{name}{form.file_extension}"'}
    )
    return {"Content-Type": form.media_type, **disposition}


def _quality(form: type[Serializer], ranges: list[MediaRange]) -> float:
    media = form.media_type.partition(";")[0]
    return next((range_.quality for range_ in ranges if range_.matches(media)), 0.0)


def _parse_accept(accept: str) -> Iterator[MediaRange]:
    """Parse the header Accept; malformed ranges are skipped."""
    for item in accept.lower().split(","):
        media, *parameters = (word.strip() for word in item.split(";"))
        type_, _, subtype = media.partition("/")
        if type_ and subtype:
            yield MediaRange(type_, subtype, _parse_quality(parameters))


def _parse_quality(parameters: list[str]) -> float:
    """Return the parameter q (RFC 9110, 12.4.2), from 0 (not acceptable) to 1; 1 without it, 0 if malformed."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
