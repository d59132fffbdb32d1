"""The source of kind `file`: records, rejects, and reasons of incomplete reads."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.core.contacts.contact import Contact
from syncd.core.sync.mapping import Mapper, identity_rules
from syncd.core.sync.record import Evidence, KnownDigests, Presence, PresenceCheck, Record, Reject
from syncd.settings import FileSource
from syncd.sources.file import RecordFile

FINGERPRINT = b"0123456789abcdef"


def source(path: Path, type_: str = "Queue", **more: Any) -> FileSource:
    return FileSource(name="acd", type=type_, kind="file", path=path, schedule={"every": "5m"}, **more)


def read(path: Path, remaining: set[bytes] | None = None, **more: Any) -> tuple[list[Record | Reject], Evidence]:
    """Return all yielded items and the evidence."""
    made = source(path, **more)
    (attempt,) = RecordFile(made, Mapper(made.type, made.rules()).attributes).attempts()
    stream = attempt.read(KnownDigests(FINGERPRINT, set() if remaining is None else remaining))
    items = []
    while True:
        try:
            items.append(next(stream))
        except StopIteration as end:
            return items, end.value


def write_file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def incomplete_reason(path: Path, **more: Any) -> tuple[str, str]:
    """Return code and sentence of the only reason of an incomplete read without records."""
    items, evidence = read(path, **more)
    assert items == []
    assert not evidence.complete
    (only,) = evidence.incomplete_reasons
    return only.code, only.sentence


SAME = {
    "q.toml": '# all\n[[queue]]\nname = "Sales"\nphoneNumber = "+1 555"\n\n[[queue]]\nName = "Ünï"\nchannel = "chat"\n',
    "q.yaml": "# queues\n- name: Sales\n  phoneNumber: '+1 555'\n- {Name: Ünï, channel: chat, phoneNumber: }\n",
    "q.yml": "- name: Sales\n  phoneNumber: +1 555\n- Name: Ünï\n  channel: chat\n  phoneNumber: ~\n",
    "q.json": '[{"name": "Sales", "phoneNumber": "+1 555"},\n{"Name": "Ünï", "channel": "chat", "phoneNumber": null}]',
    "q.csv": "name,phoneNumber,channel\r\nSales,+1 555,\r\n\r\nÜnï,,chat\r\n",
}


@pytest.mark.parametrize("name", SAME)
def test_every_format_gives_the_same_records(tmp_path: Path, name: str) -> None:
    """TOML, YAML, JSON and CSV differ in the locations only."""
    items, evidence = read(write_file(tmp_path, name, SAME[name]))

    assert [(record.key, dict(record.values)) for record in items] == [
        ("Sales", {"name": ("Sales",), "phonenumber": ("+1 555",)}),
        ("Ünï", {"name": ("Ünï",), "channel": ("chat",)}),
    ]
    assert evidence.complete
    assert (evidence.entries, evidence.server, evidence.key_attribute) == (2, str(tmp_path / name), "name")


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("q.toml", ["q.toml:2", "q.toml:6"]),
        ("q.yaml", ["q.yaml:2", "q.yaml:4"]),
        ("q.json", ["q.json:1", "q.json:2"]),
        ("q.csv", ["q.csv:2", "q.csv:4"]),
    ],
)
def test_a_record_has_its_line_as_location(tmp_path: Path, name: str, places: list[str]) -> None:
    """The location is file and line."""
    items, _ = read(write_file(tmp_path, name, SAME[name]))

    assert [record.location for record in items] == places


def test_an_inline_array_of_toml_has_positions(tmp_path: Path) -> None:
    """Without header lines the location is the position."""
    items, evidence = read(write_file(tmp_path, "q.toml", 'queue = [{name = "A"}, {name = "B"}]'))

    assert [record.location for record in items] == ["q.toml[0]", "q.toml[1]"]
    assert evidence.complete


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    """Spreadsheets save CSV with one."""
    items, _ = read(write_file(tmp_path, "q.csv", "name,channel\nA,voice\n".encode("utf-8-sig")))

    assert [record.key for record in items] == ["A"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.toml", '[[queue]]\nname = "A"\nphoneNumber = 5550102000\n'),
        ("q.yaml", "- {name: A, phoneNumber: 5550102000}"),
        ("q.json", '[{"name": "A", "phoneNumber": 5550102000}]'),
    ],
)
def test_a_number_becomes_its_text(tmp_path: Path, name: str, text: str) -> None:
    """Numbers without quotes are read as they are written."""
    (record,), _ = read(write_file(tmp_path, name, text))

    assert record.values["phonenumber"] == ("5550102000",)


@pytest.mark.parametrize("number", ["0301234", "+4930123", "1_000", "12:30:45", "0x1F"])
def test_yaml_phone_numbers_stay_text(tmp_path: Path, number: str) -> None:
    """Octal, signed, grouped, sexagesimal and hexadecimal integers remain the text of the file."""
    (record,), _ = read(write_file(tmp_path, "q.yaml", f"- name: A\n  phoneNumber: {number}\n"))

    assert record.values["phonenumber"] == (number,)


@pytest.mark.parametrize("number", ["+4930123", "1_000", "0x1F", "0x" + "F" * 9000, "[+4930123, 5]"])
def test_toml_integers_that_lose_characters_are_rejected(tmp_path: Path, number: str) -> None:
    """A number whose plus sign TOML drops must not become another number."""
    (reject,), evidence = read(write_file(tmp_path, "q.toml", f'[[queue]]\nname = "A"\nphoneNumber = {number}\n'))

    assert isinstance(reject, Reject)
    assert (reject.key, reject.location) == ("A", "q.toml:1")
    assert "phoneNumber is a number that would lose its sign" in reject.reason
    assert evidence.complete


def test_a_list_of_texts_gives_several_values(tmp_path: Path) -> None:
    """Several numbers keep their order; blanks are no values."""
    (record,), _ = read(write_file(tmp_path, "q.yaml", "- name: A\n  phoneNumber: ['2', '1', ' ', ~, 3]\n"))

    assert record.values["phonenumber"] == ("2", "1", "3")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("q.toml", '[[queue]]\nname = "A"\nchannel = true\n', "channel is true or false"),
        ("q.toml", '[[queue]]\nname = "A"\nchannel = 2024-01-01\n', "channel is a date or time"),
        ("q.toml", '[[queue]]\nname = "A"\n[queue.channel]\nx = 1\n', "channel is an object"),
        ("q.yaml", "- name: A\n  channel: no\n", "channel is true or false"),
        ("q.yaml", "- name: A\n  channel: 2024-01-01\n", "channel is a date or time"),
        ("q.yaml", "- name: A\n  channel: {x: y}\n", "channel is an object"),
        ("q.yaml", "- name: A\n  channel: [[x]]\n", "channel is a list within a list"),
        ("q.yaml", "- name: A\n  channel: !!python/name:os.system ''\n", "python/name:os.system"),
        ("q.yaml", "- name: A\n  name: B\n", "name is given more than once"),
        ("q.json", '[{"name": "A", "channel": false}]', "channel is true or false"),
        ("q.json", '[{"name": "A", "channel": {"x": 1}}]', "channel is an object"),
        ("q.json", '[{"name": "A", "channel": [["x"]]}]', "channel is a list within a list"),
        ("q.json", '[{"name": "A", "channel": "x", "channel": "y"}]', "channel is given more than once"),
        ("q.json", '[{"name": "A", "channel": "x\\u0000"}]', "channel holds a control character"),
        ("q.json", '[{"name": "A", "channel": "\\ud800"}]', "channel holds a control character"),
        ("q.json", '[{"name": ["A", "B"]}]', "must have exactly one value"),
        ("q.csv", "name,channel\n ,voice\n", "must have exactly one value"),
        ("q.toml", '[[queue]]\nname = "A"\nphonenumbr = "1"\n', "'phonenumbr' is not known; did you mean phonenumber?"),
        ("q.toml", '[[queue]]\nname = "A"\nphone_number = "1"\n', "did you mean phonenumber?"),
        ("q.csv", "name,phone\nA,1\n", "did you mean phonenumber?"),
    ],
)
def test_an_invalid_record_is_rejected(tmp_path: Path, name: str, text: str, reason: str) -> None:
    """The reject names the member and the reason; the read stays complete."""
    (reject,), evidence = read(write_file(tmp_path, name, text))

    assert isinstance(reject, Reject)
    assert reason in reject.reason
    assert evidence.complete
    assert evidence.entries == 1


def test_a_reject_keeps_its_key_and_valid_values(tmp_path: Path) -> None:
    """The stored contact of the key stays unchanged, and the reject shows the valid values."""
    (reject,), _ = read(write_file(tmp_path, "q.json", '[{"name": "A", "phoneNumber": "1", "channel": true}]'))

    assert reject == Reject(
        "A",
        "q.json:1",
        "channel is true or false; write a text in quotes",
        {"name": ("A",), "phonenumber": ("1",)},
    )


def test_a_record_without_key_is_rejected_beside_good_ones(tmp_path: Path) -> None:
    """The reject has no key; the other records are read."""
    items, evidence = read(write_file(tmp_path, "q.json", '[{"name": "A"}, {"channel": "chat"}]'))

    assert isinstance(items[0], Record)
    assert isinstance(items[1], Reject)
    assert items[1].key is None
    assert evidence.complete


def test_unmapped_members_are_ignored(tmp_path: Path) -> None:
    """A column of another system, or a note, is neither an error nor a part of the record."""
    text = '[{"name": "A", "phoneNumber": "1", "phoneNumber2": "9", "owner": {"x": [true]}, "note": 5}]'
    (record,), _ = read(write_file(tmp_path, "q.json", text))

    assert record.values == {"name": ("A",), "phonenumber": ("1",)}


def test_a_map_reads_the_columns_of_another_system(tmp_path: Path) -> None:
    """A source map names the members of the file, the key included."""
    path = write_file(tmp_path, "export.csv", "Id,Title,DN 1,Media\n7,Sales,1000,voice\n")
    path.write_text(path.read_text().replace("DN 1", "DN1"))
    (record,), evidence = read(path, key="ID", map={"name": "title", "phoneNumber": "dn1"})

    assert record.key == "7"
    assert record.values == {"id": ("7",), "title": ("Sales",), "dn1": ("1000",)}
    assert evidence.key_attribute == "ID"


def test_yaml_anchors_and_merges_are_followed(tmp_path: Path) -> None:
    """A member of the record overrides the merged one."""
    text = "- &base\n  name: A\n  channel: voice\n  phoneNumber: '1'\n- <<: *base\n  name: B\n  phoneNumber: '2'\n"
    items, evidence = read(write_file(tmp_path, "q.yaml", text))

    assert dict(items[1].values) == {"name": ("B",), "phonenumber": ("2",), "channel": ("voice",)}
    assert evidence.complete


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("q.toml", "", "empty", "has no content"),
        ("q.csv", " \n", "empty", "has no content"),
        ("q.toml", '[[queue]]\nname = "A"\n[[queue]]\nname = "B', "parse", "q.toml:4: is not TOML"),
        ("q.toml", '[[queue]]\nname = "A"\nname = "B"\n', "parse", "q.toml:3: is not TOML"),
        ("q.toml", '[[queue]]\nname = "A"\nphoneNumber = 0301\n', "parse", "q.toml:3"),
        ("q.toml", "a = " + "9" * 5000, "parse", "is not TOML"),
        ("q.toml", "a = " + "[" * 20000, "parse", "nested too deeply"),
        ("q.toml", '[[queue]]\nname = "A"\n\n[[que]]\nname = "B"\n', "shape", "q.toml:4: 'que' is not known here; did"),
        ("q.toml", '[[user]]\nname = "A"\n', "shape", "each record is a table [[queue]]"),
        ("q.toml", '\n[queue]\nname = "A"\n', "shape", "q.toml:2: 'queue' is no array of tables"),
        ("q.toml", '[[queue]]\nnmae = "A"\n', "shape", "no record has the member name"),
        ("q.yaml", "- name: A\n- name: [B\n", "parse", "q.yaml:3: is not YAML"),
        ("q.yaml", "- name: A\n  \tb: c: d\n", "parse", "q.yaml:2: is not YAML"),
        ("q.yaml", "- name: A\x00\n", "parse", "q.yaml:1: is not YAML"),
        ("q.yaml", "- name: A\n---\n- name: B\n", "parse", "is not YAML"),
        ("q.yaml", "- name: A\n- *b\n", "parse", "q.yaml:2: is not YAML"),
        ("q.yaml", "[" * 20000, "parse", "nested too deeply"),
        ("q.yaml", "name: A\n", "shape", "q.yaml:1: is no list"),
        ("q.yaml", "# nothing\n", "shape", "is no list"),
        ("q.yaml", "- name: A\n- B\n", "shape", "q.yaml:2: this element"),
        ("q.yaml", "- name: A\n  ? [x]\n  : y\n", "shape", "a member's name must be a text"),
        ("q.json", '[{"name": "A"},\n{"name": "B"', "parse", "q.json:2: is not JSON"),
        ("q.json", '[{"name": "A"}] []', "parse", "q.json:1: is not JSON: Extra data"),
        ("q.json", '[{"name": NaN}]', "parse", "NaN is no JSON value"),
        ("q.json", "[" * 200000, "parse", "nested too deeply"),
        ("q.json", '{"name": "A"}', "shape", "q.json:1: is no list"),
        ("q.json", '[{"name": "A"},\n\n"B"]', "shape", "q.json:3: this element"),
        ("q.csv", 'name,channel\nA,"voi\nce', "parse", "q.csv:2: is not CSV"),
        ("q.csv", "name,channel\nA,voice\nB\n", "shape", "q.csv:3: has 1 values, but the header names 2 columns"),
        ("q.csv", "name,Name\nA,B\n", "shape", "names the column 'name' twice"),
        ("q.csv", "name,\nA,B\n", "shape", "a column without a name"),
        ("q.csv", "name;channel\nA;voice\n", "shape", "no record has the member name"),
        ("q.csv", b"name\nA\n\xff\n", "encoding", "q.csv:3: is not UTF-8"),
    ],
)
def test_an_invalid_file_is_incomplete(tmp_path: Path, name: str, text: str | bytes, code: str, words: str) -> None:
    """No record is yielded; the sentence contains the reason, and the line if it is known."""
    items, sentence = incomplete_reason(write_file(tmp_path, name, text))

    assert (items, words in sentence) == (code, True), sentence
    assert sentence.startswith(str(tmp_path / name))
    assert "nothing was changed" in sentence


@pytest.mark.parametrize("name", SAME)
def test_a_truncated_file_has_no_other_records(tmp_path: Path, name: str) -> None:
    """A file cut at any byte is incomplete, or its records are the first ones of the whole file."""
    whole = SAME[name].encode()
    full, _ = read(write_file(tmp_path, name, whole))
    for cut in range(len(whole)):
        items, evidence = read(write_file(tmp_path, name, whole[:cut]))

        assert [item.key for item in items][:-1] == [item.key for item in full][: max(len(items) - 1, 0)]
        assert evidence.complete or items == []


@pytest.mark.parametrize(
    ("name", "text", "entries"),
    [
        ("q.toml", "# no queues yet\n", 0),
        ("q.toml", "queue = []\n", 0),
        ("q.yaml", "[]\n", 0),
        ("q.json", " [ ] ", 0),
        ("q.csv", "name,phoneNumber\n", 0),
    ],
)
def test_an_empty_list_is_complete(tmp_path: Path, name: str, text: str, entries: int) -> None:
    """The guard decides about an empty source."""
    items, evidence = read(write_file(tmp_path, name, text))

    assert items == []
    assert evidence.complete
    assert evidence.entries == entries


def test_a_duplicate_key_names_both_lines(tmp_path: Path) -> None:
    """Keys that differ in blanks only are equal."""
    text = '[[queue]]\nname = "Sales East"\n[[queue]]\nname = "B"\n[[queue]]\nname = " Sales  East"\nchannel = true\n'
    code, sentence = incomplete_reason(write_file(tmp_path, "q.toml", text))

    assert code == "duplicate"
    assert sentence == "q.toml:5: name 'Sales East' is already listed at q.toml:1; remove one of them"


def test_many_duplicates_are_summarized(tmp_path: Path) -> None:
    """After ten duplicates one sentence has the number of the others."""
    rows = "".join(f"Q{number}\n" for number in range(1000))
    items, evidence = read(write_file(tmp_path, "q.csv", f"name\n{rows}{rows}"))

    assert items == []
    assert len(evidence.incomplete_reasons) == 11
    assert evidence.incomplete_reasons[-1].sentence == "q.csv: 990 more records are listed twice"


def test_a_missing_file_is_incomplete(tmp_path: Path) -> None:
    """An absent file is not an empty list."""
    code, sentence = incomplete_reason(tmp_path / "q.toml")

    assert code == "missing"
    assert "correct `path` in the settings" in sentence


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_only_regular_files_are_opened(tmp_path: Path, make: Any) -> None:
    """Reading a pipe would block the run."""
    make(tmp_path / "q.toml")

    assert incomplete_reason(tmp_path / "q.toml")[0] == "unreadable"


def test_a_path_through_a_file_is_unreadable(tmp_path: Path) -> None:
    """The sentence contains the error of the operating system."""
    write_file(tmp_path, "folder", "x")
    code, sentence = incomplete_reason(tmp_path / "folder" / "q.toml")

    assert code == "unreadable"
    assert "Not a directory" in sentence


@pytest.mark.parametrize("replace", [False, True], ids=["written in place", "replaced by rename"])
def test_a_file_that_changes_while_it_is_read_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """The content may consist of parts of two versions."""
    path = write_file(tmp_path, "q.csv", "name\nA\nB\n")
    real = Path.open

    def open_and_meddle(self: Path, mode: str) -> io.BytesIO:
        with real(self, mode) as file:
            data = file.read()
        monkeypatch.setattr(Path, "open", real)
        if replace:
            write_file(tmp_path, "new", "name\nA\nC\n").rename(path)
        else:
            write_file(tmp_path, "q.csv", "name\nA\nC\n")
            os.utime(path, ns=(1, 1))
        return io.BytesIO(data)

    monkeypatch.setattr(Path, "open", open_and_meddle)

    assert incomplete_reason(path)[0] == "changing"


def test_a_file_above_its_limit_is_not_read(tmp_path: Path) -> None:
    """The size is checked before anything is read; a sparse file costs nothing to make, and much to read."""
    path = write_file(tmp_path, "q.toml", SAME["q.toml"])
    assert read(path, max_mib=1)[1].complete
    os.truncate(path, 2**20 + 1)

    code, sentence = incomplete_reason(path, max_mib=1)

    assert code == "size"
    assert "has 1048577 bytes, at most 1048576 are read" in sentence
    assert "raise `max_mib`" in sentence
    os.truncate(path, 2**40)
    assert incomplete_reason(path)[0] == "size"


def test_records_with_known_digests_are_skipped(tmp_path: Path) -> None:
    """A second read of the same file yields nothing; the remaining digest is of no record."""
    path = write_file(tmp_path, "q.toml", SAME["q.toml"])
    first, _ = read(path)
    gone = b"x" * 16
    remaining = {record.digest for record in first if isinstance(record, Record)} | {gone}
    items, evidence = read(path, remaining)

    assert items == []
    assert remaining == {gone}
    assert evidence.entries == 2


def test_the_digest_depends_on_the_values_not_on_their_order_or_format(tmp_path: Path) -> None:
    """Another order or format has the same digest, another number has not."""
    (one,), _ = read(write_file(tmp_path, "q.json", '[{"name": "A", "phoneNumber": 1}]'))
    (same,), _ = read(write_file(tmp_path, "q.yaml", "# new\n- PHONENUMBER: 1\n  note: x\n  name: A"))
    (other,), _ = read(write_file(tmp_path, "q.json", '[{"name": "A", "phoneNumber": 2}]'))

    assert isinstance(one, Record)
    assert isinstance(same, Record)
    assert isinstance(other, Record)
    assert one.digest == same.digest != other.digest


def test_an_incomplete_read_keeps_the_known_digests(tmp_path: Path) -> None:
    """No digest is removed by an incomplete read."""
    path = write_file(tmp_path, "q.csv", "name\nA\n")
    (record,), _ = read(path)
    assert isinstance(record, Record)
    remaining = {record.digest}
    write_file(tmp_path, "q.csv", "name\nA\nA\n")
    _, evidence = read(path, remaining)

    assert not evidence.complete
    assert remaining == {record.digest}


def test_toml_tables_are_named_after_the_type(tmp_path: Path) -> None:
    """The table is named after the type of the source."""
    text = '[[user]]\nname = "Ann Lee"\nuserName = "ann"\nroles = ["AGENT"]\n'
    (record,), _ = read(write_file(tmp_path, "u.toml", text), type_="User", key="userName")

    assert record.key == "ann"
    assert record.values["roles"] == ("AGENT",)


def test_the_sample_file_has_no_rejects() -> None:
    """All records of config/queues.toml are valid."""
    path = Path(__file__).parents[2] / "config" / "queues.toml"
    items, evidence = read(path)
    mapper = Mapper("Queue", identity_rules("Queue"))
    contacts = [mapper.to_contact(record) for record in items if isinstance(record, Record)]

    assert evidence.complete
    assert len(contacts) == len(items) == 6
    assert all(isinstance(contact, Contact) for contact in contacts)


def verify_absent(path: Path, *keys: str) -> list[PresenceCheck]:
    checks = RecordFile(source(path), frozenset({"name", "phonenumber"})).verify_absent(keys, Evidence(str(path)))
    return list(checks)


LISTED = '[{"name": "A", "phoneNumber": "1"},\n{"name": "B", "channel": true},\n{"name": "C"}]'


def test_missing_keys_are_looked_up_in_the_current_file(tmp_path: Path) -> None:
    """Records and rejects of the current file are present; all other keys are gone."""
    path = write_file(tmp_path, "q.json", LISTED)

    assert verify_absent(path, "C", "X", "B") == [
        PresenceCheck("C", Presence.PRESENT, "q.json:3"),
        PresenceCheck("X", Presence.GONE),
        PresenceCheck("B", Presence.PRESENT, "q.json:2"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "no such file"), ("[", "is not JSON"), (LISTED[:-1] + ', {"name": "A"}]', "already listed")],
)
def test_an_incomplete_file_leaves_keys_unknown(tmp_path: Path, text: str | None, said: str) -> None:
    """All keys are unknown, with the reason of the incomplete read."""
    path = tmp_path / "q.json"
    if text is not None:
        write_file(tmp_path, "q.json", text)
    checks = verify_absent(path, "A", "X")

    assert [(one.key, one.presence) for one in checks] == [("A", Presence.UNKNOWN), ("X", Presence.UNKNOWN)]
    assert all(said in one.location for one in checks)


def search(path: Path, text: str, *keys: str) -> list[str]:
    """Return the locations of the matches in a complete file."""
    result = RecordFile(source(path), frozenset({"name", "phonenumber"})).search(text, keys)
    assert result.error == ""
    assert {(one.server, one.excluded_reason) for one in result.matches} <= {(str(path), "")}
    return [one.item.location for one in result.matches]


@pytest.mark.parametrize(
    ("text", "keys", "lines"),
    [
        ("Sales East", [], [1]),
        (" sales  EAST ", [], [1]),
        ("+1 (555) 010", [], [1, 3]),
        ("1555010", [], [1, 3]),
        ("155501", [], []),
        ("Sales", [], []),
        ("STRASSE", [], [2]),
        ("x", ["Sales East", "Ghost"], [1]),
        ("", ["Straße"], [2]),
        ("", [], []),
        ("+", [], []),
        ("odd", [], [4]),
    ],
)
def test_a_record_is_found_by_its_values(tmp_path: Path, text: str, keys: list[str], lines: list[int]) -> None:
    """Values match regardless of case and blanks, numbers regardless of punctuation; rejects are found too."""
    path = write_file(
        tmp_path,
        "q.json",
        '[{"name": "Sales East", "phoneNumber": "+1 555-010"},\n{"name": "Straße", "phoneNumber": ["7", "8"]},\n'
        '{"name": "Other", "phoneNumber": ["9", "1555010"]},\n{"name": "odd", "phoneNumber": true}]',
    )

    assert search(path, text, *keys) == [f"q.json:{line}" for line in lines]


def test_a_search_returns_at_most_fifty_records(tmp_path: Path) -> None:
    """Eighty records have the number."""
    rows = "".join(f"Q{number},1\n" for number in range(80))

    assert len(search(write_file(tmp_path, "q.csv", f"name,phoneNumber\n{rows}"), "1")) == 50


def test_a_search_in_an_incomplete_file(tmp_path: Path) -> None:
    """The result has the error, and both records of a duplicate key."""
    path = write_file(tmp_path, "q.csv", "name\nA\nB\nA\n")
    result = RecordFile(source(path), frozenset()).search("a", [])

    assert [one.item.location for one in result.matches] == ["q.csv:2", "q.csv:4"]
    assert "already listed at q.csv:2" in result.error
    path.unlink()
    assert RecordFile(source(path), frozenset()).search("a", []).error.startswith(f"{path}: there is no such file")


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)
RECORDS = st.lists(
    st.fixed_dictionaries({
        "name": TEXTS.filter(lambda text: text.strip()),
        "phoneNumber": TEXTS,
        "channel": TEXTS,
    }),
    max_size=5,
    unique_by=lambda record: " ".join(record["name"].split()),
)  # fmt: skip


def as_csv(records: list[dict[str, str]]) -> str:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, ["name", "phoneNumber", "channel"])
    writer.writeheader()
    writer.writerows(records)
    return sink.getvalue()


def as_toml(records: list[dict[str, str]]) -> str:
    return "# queues\n" + "".join(
        "[[queue]]\n" + "".join(f"{member} = {json.dumps(value, ensure_ascii=False)}\n" for member, value in r.items())
        for r in records
    )


WRITERS = {
    "q.json": lambda records: json.dumps(records, indent=1),
    "q.yaml": lambda records: yaml.safe_dump(records, allow_unicode=True),
    "q.csv": as_csv,
    "q.toml": as_toml,
}


@pytest.mark.parametrize("name", WRITERS)
@given(records=RECORDS)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_written_records_are_read_unchanged(tmp_path: Path, name: str, records: list[dict[str, str]]) -> None:
    """Any text is unchanged in every format."""
    text = WRITERS[name](records)
    items, evidence = read(write_file(tmp_path, name, text))

    assert evidence.complete, evidence.reason
    expected = [{member.lower(): (v,) for member, v in record.items() if v.strip()} for record in records]
    assert [dict(item.values) for item in items if isinstance(item, Record)] == expected


@pytest.mark.parametrize("name", SAME)
@given(data=st.binary(max_size=60))
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_no_content_ever_raises(tmp_path: Path, name: str, data: bytes) -> None:
    """Faults become reasons in the evidence."""
    items, evidence = read(write_file(tmp_path, name, data))

    assert evidence.complete or (items == [] and evidence.reason)
