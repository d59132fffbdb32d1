"""Time and memory of every parser grow in proportion to its input, at most.

Growth is a ratio of two measurements in this process, not a number of seconds: the parser gets an input, and one that
is eight times as large. Eight is in proportion, 64 is its square; a slow machine is equally slow for both.
"""

import gc
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.contacts import query
from syncd.core.contacts.phone_number import lookup_keys
from syncd.core.files import csv_contacts, vcard_contacts
from syncd.core.files.contact_import import MAX_BYTES
from syncd.core.sync.record import KnownDigests
from syncd.errors import RequestError
from syncd.settings import FileSource
from syncd.sources.file import RecordFile
from syncd.sources.file_entry import FormatError
from syncd.sources.formats import parse_entries
from syncd.sources.ldap.base import is_in_scope
from syncd.web import request_body

FACTOR = 8
MAX_GROWTH = 20
"""Between 8, in proportion, and 64, the square."""
MEASURABLE = 0.02
"""Seconds of processor time of the smaller input, beside which the noise of the clock is nothing."""
MAX_SIZE = 2**19
"""Characters of the smaller input; what takes no measurable time for these is not tested further."""

Parser = Callable[[str], object]


def file_parser(suffix: str) -> Parser:
    return lambda text: parse_entries(suffix, text, "queue")


PARSERS: dict[str, Parser] = {
    "toml": file_parser(".toml"),
    "yaml": file_parser(".yaml"),
    "json": file_parser(".json"),
    "csv": file_parser(".csv"),
    "CSV import": lambda text: list(csv_contacts.parse_entries(text.encode())),
    "vCard import": lambda text: list(vcard_contacts.parse_entries(text.encode())),
    "JSON body": lambda text: request_body.parse_json_object(text.encode()),
    "query": lambda text: query.parse(text.encode()),
    "number": lambda text: lookup_keys(text, ("DE", "US")),
    "DN": lambda text: is_in_scope(text, "dc=x", "subtree"),
}
CARD = "BEGIN:VCARD\nVERSION:4.0\nFN:x\n"

WORST: dict[str, tuple[str, Callable[[int], str]]] = {
    "numbers of an inline array": ("toml", lambda n: f"queue = [{{phoneNumber = [{'1234567, ' * (n // 9)}]}}]"),
    "records of an inline array": ("toml", lambda n: f"queue = [{'{name = 1234567}, ' * (n // 18)}]"),
    "numbers without their sign": ("toml", lambda n: f"queue = [{{phoneNumber = [{'+1234567, ' * (n // 10)}]}}]"),
    "parts of a key": ("toml", lambda n: "a." * (n // 2) + "a = 1"),
    "parts of a table": ("toml", lambda n: f"[{'a.' * (n // 4)}a]\n" + "".join(f"b{i} = 1\n" for i in range(n // 16))),
    "digits of a number": ("toml", lambda n: "a = " + "1" * n),
    "quotes without an end": ("toml", lambda n: '"""\\' * (n // 4)),
    "columns": ("csv", lambda n: ",".join(f"c{i}" for i in range(n // 6)) + "\n"),
    "members": ("json", lambda n: '[{"name": "a"' + "".join(f', "m{i}": "x"' for i in range(n // 14)) + "}]"),
    "records of a list": ("json", lambda n: f"[{','.join(['{}'] * (n // 3))}]"),
    "aliases of a record": ("yaml", lambda n: f"- &a {{{'b: c, ' * (n // 12)}}}\n" + "- *a\n" * (n // 10)),
    "aliases of a text": ("yaml", lambda n: f"- a: &a {'b' * (n // 2)}\n" + "- a: *a\n" * (n // 16)),
    "merges of a record": ("yaml", lambda n: f"- &a {{{'b: c, ' * (n // 12)}}}\n" + "- <<: *a\n" * (n // 18)),
    "merges in a record": ("yaml", lambda n: "- &a {b: c}\n- {" + "<<: *a, " * (n // 8) + "}\n"),
    "a merged list": ("yaml", lambda n: "- &a {b: c}\n- <<: [" + "*a, " * (n // 4) + "]\n"),
    "colons of a number": ("yaml", lambda n: "- name: 1" + ":1" * (n // 2)),
    "folded lines": ("vCard import", lambda n: f"{CARD}NOTE:" + "\n x" * (n // 3) + "\nEND:VCARD\n"),
    "a long line": ("vCard import", lambda n: f"{CARD}TEL;X=" + "x" * n + ":1\nEND:VCARD\n"),
    "quotes of a parameter": ("vCard import", lambda n: f"{CARD}TEL;X=" + '"a"' * (n // 3) + ":1\nEND:VCARD\n"),
    "parameters": ("vCard import", lambda n: f"{CARD}TEL" + ";" * n + ":1\nEND:VCARD\n"),
    "components": ("vCard import", lambda n: "BEGIN:VCARD\nVERSION:4.0\nN:" + ";" * n + "\nEND:VCARD\n"),
    "numbers of a card": ("vCard import", lambda n: CARD + "TEL:1\n" * (n // 6) + "END:VCARD\n"),
    "escapes": ("CSV import", lambda n: "name,phoneNumbers\n" + ("x," + "\\:" * 60_000 + "\n") * (n // 120_000)),
    "escapes of a cell": ("CSV import", lambda n: 'name,phoneNumbers\nx,"' + "\\," * min(n // 2, 65_000) + '"\n'),
    "apostrophes": ("CSV import", lambda n: "name,phoneNumbers\n" + ("x," + "'" * 120_000 + "\n") * (n // 120_000)),
    "members of a body": ("JSON body", lambda n: "{" + "".join(f'"{i}": 1, ' for i in range(n // 11)) + '"1": 1}'),
    "digits and a letter": ("number", lambda n: "1" * n + "x"),
    "components of a DN": ("DN", lambda n: "a," * (n // 2)),
    "a long component": ("DN", lambda n: "a" * n + "\\"),
}  # fmt: skip


def measure(parse: Parser, text: str) -> float:
    """Return the seconds of processor time that parsing takes."""
    gc.disable()  # a collection takes time in proportion to everything else that is in memory
    started = time.process_time()
    try:
        with suppress(FormatError, RequestError):
            parse(text)
        return time.process_time() - started
    finally:
        gc.enable()


def growth(parse: Parser, make: Callable[[int], str]) -> float:
    """Return how many times as long an input takes that is FACTOR times as large; at most three attempts."""
    size = 4096
    while (seconds := measure(parse, make(size))) < MEASURABLE and size < MAX_SIZE:
        size *= 2
    ratio = measure(parse, make(size * FACTOR)) / max(seconds, MEASURABLE)
    for _ in range(2):
        if ratio > MAX_GROWTH:  # another process may have been in the way
            ratio = min(ratio, measure(parse, make(size * FACTOR)) / max(measure(parse, make(size)), MEASURABLE))
    return ratio


@pytest.mark.parametrize("name", WORST)
def test_time_grows_in_proportion(name: str) -> None:
    """Known inputs that were, or could be, in proportion to the square."""
    kind, make = WORST[name]

    assert growth(PARSERS[kind], make) <= MAX_GROWTH


pieces = st.sampled_from([
    *"[]{}=,.:;\n\r\t \"'#\\&*?|>!%-+01ae@`", '"""', "'''", "[[queue]]\n", "queue = [", "name", "a.", "a = 1\n", "- ",
    "<<: *a", "&a {b: c}\n", "- a: b\n", '"name": ', '"a": 1, ', "null, ", "name,", "phoneNumbers,", "\\,", "a: ", '""',
    "BEGIN:VCARD\n", "END:VCARD\n", "VERSION:4.0\n", "FN:x\n", "TEL:1\n", "N:", "TEL;", "PREF=1;", "item1.", "\n ",
    "name=", "+", "(0)", "cn=a,", "filterParameters=", "&type=User", "%", "%41", "*", "\\u0041",
])  # fmt: skip


@given(
    st.sampled_from(list(PARSERS)),
    *[st.lists(pieces, max_size=3).map("".join)] * 2,
    st.lists(pieces, min_size=1, max_size=4),
)
@settings(max_examples=120)
def test_time_grows_in_proportion_for_any_repetition(kind: str, start: str, end: str, unit: list[str]) -> None:
    """What one parser finds special, repeated behind and before the same."""
    repeated = "".join(unit)

    def make(size: int) -> str:
        return start + repeated * (size // len(repeated)) + end

    if measure(PARSERS[kind], make(16_384)) > MAX_GROWTH * measure(PARSERS[kind], make(16_384 // FACTOR)):
        assert growth(PARSERS[kind], make) <= MAX_GROWTH


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("q.csv", lambda n: "name," + ",".join(f"c{i}" for i in range(n // 6)) + "\na" + "," * (n // 6) + "\n"),
        ("q.json", lambda n: '[{"name": "a"' + "".join(f', "m{i}": "x"' for i in range(n // 14)) + "}]"),
        ("q.json", lambda n: "[{" + ", ".join(['"name": "a"'] * (n // 13)) + "}]"),
    ],
    ids=["columns", "members", "the same member"],
)
def test_the_check_of_members_grows_in_proportion(tmp_path: Path, name: str, make: Callable[[int], str]) -> None:
    """Unknown members are compared with the absent ones, and the others counted."""
    settings = FileSource(name="acd", type="Queue", kind="file", path=tmp_path / name, schedule={"every": "5m"})

    def read(text: str) -> None:
        (tmp_path / name).write_text(text)
        list(next(RecordFile(settings, frozenset({"name", "phonenumber"})).attempts()).read(KnownDigests(b"", set())))

    assert growth(read, make) <= MAX_GROWTH


@pytest.mark.parametrize("name", WORST)
def test_memory_is_in_proportion(name: str) -> None:
    """Of nothing more than some hundred bytes per character, objects of the result included."""
    kind, make = WORST[name]
    text = make(40_000)
    tracemalloc.start()
    with suppress(FormatError, RequestError):
        PARSERS[kind](text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 2**20 + 400 * len(text), f"{peak / len(text):.0f} bytes per character"


def test_a_vcard_line_of_the_largest_file_takes_few_times_its_size() -> None:
    """A photo is one line of megabytes; it took 200 bytes for each character."""
    text = f"{CARD}TEL;X={'x' * MAX_BYTES}:1\nEND:VCARD\n"
    tracemalloc.start()
    (entry,) = vcard_contacts.parse_entries(text.encode())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert entry.members["phoneNumber"] == "1"
    assert peak < 12 * MAX_BYTES


def test_a_bomb_of_merge_keys_is_read_or_refused_in_proportion() -> None:
    """510 bytes took seven seconds, and each further line twice as long: mappings that merge the former one twice."""

    def bomb(depth: int) -> str:
        lines = [f"  - &m{level} {{<<: [*m{level - 1}, *m{level - 1}]}}\n" for level in range(1, depth)]
        return "- &m0 {name: a}\n" + "".join(lines).replace("  -", "-") + f"- {{<<: *m{depth - 1}}}\n"

    assert len(bomb(14)) < 520
    (short, long) = (min(measure(PARSERS["yaml"], bomb(depth)) for _ in range(3)) for depth in (14, 28))

    assert long < MAX_GROWTH * short


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("yaml", "- &a {name: a, channel: [*a]}"), ("yaml", "- &a {<<: *a}"), ("yaml", "- &a [*a]"),
        ("yaml", "[" * 100_000), ("yaml", "- " * 100_000), ("yaml", "? " * 100_000), ("yaml", "{a: " * 100_000),
        ("json", "[" * 1_000_000), ("json", '{"a":' * 1_000_000), ("toml", "a = " + "[" * 1_000_000),
        ("toml", "a = " + "{a = " * 100_000), ("JSON body", '{"a":' * 100_000),
    ],
)  # fmt: skip
def test_depth_and_circles_are_refused(kind: str, text: str) -> None:
    """With a reason, and neither a traceback nor the end of the process; a circle may just be no text."""
    try:
        PARSERS[kind](text)
    except (FormatError, RequestError) as error:
        assert str(error)  # noqa: PT017 - a circle raises nothing
