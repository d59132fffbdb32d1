"""Mapping: values of members, and reasons for rejects."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.contacts.contact import MAX_LENGTH, MEMBERS_OF, TYPES, Contact, ContactType, PhoneNumber, find_flaw
from syncd.core.contacts.text import clean
from syncd.core.sync.mapping import DEFAULT_RULES, Mapper, Rules, check_rules, identity_rules
from syncd.core.sync.record import Record, Reject

NAME = {"name": ("cn",)}


def mapped(rules: Rules, type_: ContactType = "User", /, **values: str | list[str]) -> Contact | Reject:
    """Map a record with these values; `name` has a default."""
    listed = {"cn": ["Anna"]} | {name: [one] if isinstance(one, str) else one for name, one in values.items()}
    return Mapper(type_, NAME | dict(rules)).to_contact(Record("k1", "uid=anna,ou=people", b"", listed))


def contact(rules: Rules, /, **values: str | list[str]) -> Contact:
    """Map a valid record."""
    result = mapped(rules, **values)
    assert isinstance(result, Contact), result
    return result


def reason(rules: Rules, /, **values: str | list[str]) -> str:
    """Return the reason of a reject."""
    result = mapped(rules, **values)
    assert isinstance(result, Reject), result
    return result.reason


def test_default_rules_map_an_inetorgperson() -> None:
    """To the corresponding members."""
    values = {
        "givenname": ["Anna"], "sn": ["Müller"], "cn": ["ignored"], "uid": ["amueller"], "mail": ["a@example.com"],
        "employeenumber": ["17"], "telephonenumber": ["+49 89 1", "+49 89 2"], "mobile": ["+49 170 3"],
    }  # fmt: skip

    result = Mapper("User", DEFAULT_RULES["User"]).to_contact(Record("k", "p", b"", values))

    assert result == Contact(
        name="Anna Müller",
        numbers=(
            PhoneNumber("+49 89 1", "telephoneNumber"),
            PhoneNumber("+49 89 2", "telephoneNumber"),
            PhoneNumber("+49 170 3", "mobile"),
        ),
        user_name="amueller",
        first_name="Anna",
        last_name="Müller",
        employee_id="17",
        email_address="a@example.com",
    )


@pytest.mark.parametrize("type_", sorted(DEFAULT_RULES))
def test_default_rules_are_valid(type_: ContactType) -> None:
    assert check_rules(type_, DEFAULT_RULES[type_]) == []


@pytest.mark.parametrize("type_", TYPES)
def test_identity_rules_cover_every_member(type_: ContactType) -> None:
    """A file with the names of members needs no map, and its numbers have no description."""
    rules = identity_rules(type_)

    assert set(rules) == MEMBERS_OF[type_]
    assert check_rules(type_, rules) == []
    result = Mapper(type_, rules).to_contact(Record("k", "p", b"", {member.lower(): [member] for member in rules}))
    assert isinstance(result, Contact)
    assert result.numbers == (PhoneNumber("phoneNumber"),)
    assert result.name == "name"
    assert result.channel == ("channel" if type_ == "Queue" else None)
    assert result.roles == (("roles",) if type_ == "User" else ())


def test_attribute_names_are_case_insensitive() -> None:
    """The source hands out lower case."""
    assert contact({"firstName": ("GivenName",)}, givenname="Anna").first_name == "Anna"
    assert Mapper("User", {"name": ("CN",), "lastName": ("{SN;lang-DE}",)}).attributes == {"cn", "sn;lang-de"}


def test_attributes_are_those_of_all_rules() -> None:
    """A source reads these attributes only."""
    rules = {"name": ("{givenName} {sn}", "cn"), "phoneNumber": ("mobile", "telephoneNumber"), "roles": ("{ou}",)}

    assert Mapper("User", rules).attributes == {"givenname", "sn", "cn", "mobile", "telephonenumber", "ou"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": "first", "b": "second"}, "first"),
        ({"b": "second"}, "second"),
        ({"a": " \t", "b": "second"}, "second"),
        ({"a": [], "b": "second"}, "second"),
        ({"a": ["", " "], "c": "third"}, "third"),
        ({}, None),
    ],
)
def test_the_first_of_a_list_that_is_not_blank_counts(values: dict[str, str | list[str]], expected: str | None) -> None:
    """Blank values count as absent."""
    assert contact({"firstName": ("a", "b", "c")}, **values).first_name == expected


@pytest.mark.parametrize("order", [["Zoe", "anna", "Anna"], ["Anna", "Zoe", "anna"], [" ", "anna", " Anna ", "Zoe"]])
def test_of_several_values_a_text_member_takes_the_lowest(order: list[str]) -> None:
    """The result is independent of the order of the server; blank values are ignored."""
    result = contact({"firstName": ("a",), "lastName": ("{a}!",)}, a=order)

    assert result.first_name == "Anna"
    assert result.last_name == "Anna!"


@pytest.mark.parametrize(
    ("template", "values", "expected"),
    [
        ("{a} {b}", {"a": "Anna", "b": "Müller"}, "Anna Müller"),
        ("{a} {b}", {"b": "Müller"}, "Müller"),
        ("{a} {b}", {"a": " ", "b": "  Müller "}, "Müller"),
        ("{a} {b}", {"a": " ", "b": ""}, None),
        ("{a} {b}", {}, None),
        ("Room {a}", {}, None),
        ("Room {a}", {"a": "7"}, "Room 7"),
        ("100 % {a} %s %(a)s", {"a": "50%"}, "100 % 50% %s %(a)s"),
        ("{a}{a}", {"a": "ha"}, "haha"),
        ("{b}, {a}", {"a": "{b}", "b": "x"}, "x, {b}"),
    ],
)
def test_templates(template: str, values: dict[str, str | list[str]], expected: str | None) -> None:
    """Absent values are left out, a template without any value gives none, and % is literal."""
    assert contact({"employeeId": (template,)}, **values).employee_id == expected


def test_numbers_keep_the_order_of_list_and_server() -> None:
    """Every value is a number; its description is the attribute."""
    result = contact(
        {"phoneNumber": ("telephoneNumber", "Mobile", "{ext}@pbx")}, telephonenumber=["2", "1"], mobile="3", ext="4"
    )

    assert result.numbers == (
        PhoneNumber("2", "telephoneNumber"),
        PhoneNumber("1", "telephoneNumber"),
        PhoneNumber("3", "Mobile"),
        PhoneNumber("4@pbx", ""),
    )


def test_a_number_is_listed_once() -> None:
    """The first description is kept; blank values are ignored."""
    result = contact({"phoneNumber": ("a", "b")}, a=["1 2", "  ", " 1  2 "], b=["1 2", "12"])

    assert result.numbers == (PhoneNumber("1 2", "a"), PhoneNumber("12", "b"))


def test_lists_keep_every_value_once_in_order() -> None:
    """Roles and business units, in the order of the rule and the server."""
    result = contact({"roles": ("a", "b"), "businessUnits": ("c",)}, a=["Z", "A", " Z "], b=["M", ""], c=[" "])

    assert result.roles == ("Z", "A", "M")
    assert result.business_units == ()


def test_values_are_composed_and_trimmed() -> None:
    """Decomposed accents and white space do not matter."""
    result = contact({"lastName": ("sn",), "phoneNumber": ("tel",)}, sn="  Mu\u0308ller \n Jr ", tel="\u00a01\u00a02 ")

    assert result.last_name == "Müller Jr"
    assert result.numbers[0].phone_number == "1 2"


def test_a_record_without_a_name_is_rejected() -> None:
    """The reject keeps key, location and values."""
    values = {"cn": [" "], "sn": ["x"]}

    result = Mapper("User", NAME).to_contact(Record("k1", "uid=anna", b"", values))

    assert result == Reject("k1", "uid=anna", "no name: none of the mapped attributes has a value", values)


@pytest.mark.parametrize("member", sorted(MEMBERS_OF["User"] | {"channel"}))
def test_every_member_is_checked(member: str) -> None:
    """A value that is too long or has a control character rejects the record and names the member."""
    type_: ContactType = "Queue" if member == "channel" else "User"
    for value, reason_ in [
        ("a" * (MAX_LENGTH + 1), f"{member} has 257 characters, at most 256 are allowed"),
        ("a\0b", f"{member} holds a control character"),
        ("a\udcffb", f"{member} holds a control character"),
    ]:
        result = mapped({member: ("x",)}, type_, x=value)

        assert isinstance(result, Reject)
        assert result.reason == reason_


def test_the_longest_value_is_accepted() -> None:
    """Exactly at the limit, after trimming."""
    assert contact({"lastName": ("x",)}, x=" " + "ü" * MAX_LENGTH + " ").last_name == "ü" * MAX_LENGTH


def test_the_reason_has_every_flaw() -> None:
    """Two invalid members give two sentences."""
    assert reason({"firstName": ("x",), "roles": ("x",)}, x="\x07") == (
        "firstName holds a control character; roles holds a control character"
    )
    assert reason({"name": ("x",)}, x="\x07") == "name holds a control character"


def test_any_printable_text_is_valid() -> None:
    """Scripts, emoji, joiners and directional marks."""
    for value in ("李小龍", "Ali \u200fعلي", "👩‍👩‍👧", "O'Neill-Åse", "a\u200db"):
        assert contact({"lastName": ("x",)}, x=value).last_name == value


@pytest.mark.parametrize(
    ("type_", "rules", "excerpt"),
    [
        ("User", {"name": ("cn",), "surname": ("sn",)}, "surname: a User has no such member; there are businessUnits,"),
        (
            "Queue",
            {"name": ("cn",), "userName": ("uid",)},
            "userName: a Queue has no such member; there are channel, name,",
        ),
        ("User", {"lastName": ("sn",)}, "name: is missing"),
        ("User", {"name": ()}, "name: an empty list"),
        ("User", {"name": ("given name",)}, "name: 'given name' is neither an attribute name nor a template"),
        ("User", {"name": ("",)}, "name: '' is neither"),
        ("User", {"name": ("2nd",)}, "name: '2nd' is neither"),
        ("User", {"name": ("{}",)}, "name: '{}' is neither"),
        ("User", {"name": ("{cn",)}, "name: '{cn' is neither"),
        ("User", {"name": ("{cn}}",)}, "name: '{cn}}' is neither"),
        ("User", {"name": ("{{cn}}",)}, "name: '{{cn}}' is neither"),
        ("User", {"name": ("{given name}",)}, "name: '{given name}' is neither"),
        ("User", {"name": ("{cn!r}",)}, "name: '{cn!r}' is neither"),
        ("User", {"name": ("{0}",)}, "name: '{0}' is neither"),
        ("User", {"name": ("cn\n",)}, "name: 'cn\\n' is neither"),
    ],
)
def test_an_invalid_rule_is_a_problem(type_: ContactType, rules: Rules, excerpt: str) -> None:
    """One sentence, which begins with the member."""
    (only,) = check_rules(type_, rules)

    assert only.startswith(excerpt)


def test_all_problems_are_returned_together() -> None:
    result = check_rules("User", {"nme": ("cn",), "firstName": (), "lastName": ("s n", "{")})

    assert [sentence.partition(":")[0] for sentence in result] == ["nme", "name", "firstName", "lastName", "lastName"]


attributes = st.sampled_from(["cn", "sn", "givenName", "mobile", "ou"])
elements = attributes | st.lists(
    attributes.map(lambda name: f"{{{name}}}") | st.sampled_from([" ", "%", "%s", ", ", "é"]), min_size=1, max_size=4
).map("".join).filter(lambda text: "{" in text)
texts = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    ["", " ", "a" * 300, "\0", "\udc80"]
)
records = st.dictionaries(attributes.map(str.lower), st.lists(texts, max_size=3))


@given(st.data(), st.sampled_from(TYPES), records)
def test_any_record_becomes_a_valid_contact_or_a_reject(
    data: st.DataObject, type_: ContactType, values: dict[str, list[str]]
) -> None:
    """Mapping never raises, accepts no invalid value, and is deterministic."""
    members = sorted(MEMBERS_OF[type_])
    rules = data.draw(st.dictionaries(st.sampled_from(members), st.lists(elements, min_size=1, max_size=3)))
    rules = {"name": ["cn"]} | rules
    assert check_rules(type_, rules) == []
    record = Record("k", "p", b"", values)

    result = Mapper(type_, rules).to_contact(record)

    assert Mapper(type_, rules).to_contact(record) == result
    if isinstance(result, Reject):
        assert result.reason
        return
    single = [
        result.name,
        result.user_name,
        result.first_name,
        result.last_name,
        result.employee_id,
        result.email_address,
    ]
    several = [*result.roles, *result.business_units, *(number.phone_number for number in result.numbers)]
    assert result.name
    for value in [*(text for text in (*single, result.channel) if text is not None), *several]:
        assert value
        assert find_flaw("x", value) is None
        assert clean(value) == value
        assert unicodedata.is_normalized("NFC", value)
    assert len({number.phone_number for number in result.numbers}) == len(result.numbers)


# which attributes an entry had, and what they give

FULL = {
    "givenname": ["Anna"], "sn": ["M"], "cn": ["A M"], "uid": ["am"], "mail": ["a@b"], "employeenumber": ["1"],
    "telephonenumber": ["1"], "mobile": ["2"],
}  # fmt: skip


def test_attribute_mask_example() -> None:
    """Bit n is the n-th attribute by name; unmapped and blank attributes have no bit."""
    mapper = Mapper("User", DEFAULT_RULES["User"])

    assert mapper.ordered_attributes == tuple(sorted(mapper.attributes)) == tuple(sorted(FULL))
    assert mapper.attribute_mask(FULL) == 2 ** len(FULL) - 1
    assert mapper.attribute_mask({}) == 0
    assert mapper.attribute_mask({"title": ["x"], "sn": []}) == 0
    for position, name in enumerate(mapper.ordered_attributes):
        assert mapper.attribute_mask({name: ["x"], "title": ["y"]}) == 1 << position


@given(st.dictionaries(st.sampled_from([*FULL, "title"]), st.lists(st.sampled_from(["", " \t", "x"]), max_size=3)))
def test_attribute_mask_of_any_record(values: dict[str, list[str]]) -> None:
    """The set bits are the attributes with a value that is not blank."""
    mapper = Mapper("User", DEFAULT_RULES["User"])
    had = mapper.attribute_mask(values)

    result = {name for position, name in enumerate(mapper.ordered_attributes) if had >> position & 1}
    assert result == {name for name, texts in values.items() if "x" in texts and name in FULL}


@pytest.mark.parametrize(
    ("attribute", "columns"),
    [
        ("sn", {"name", "last_name"}),
        ("givenname", {"name", "first_name"}),
        ("cn", {"name"}),
        ("telephonenumber", {"numbers"}),
        ("mobile", {"numbers"}),
        ("uid", {"user_name"}),
        ("title", set()),
        ("SN", set()),
    ],
)
def test_columns_from_an_attribute(attribute: str, columns: set[str]) -> None:
    """Alone, in a template or further down a list."""
    assert Mapper("User", DEFAULT_RULES["User"]).columns_from(attribute) == columns


def test_columns_of_lists() -> None:
    """Roles and business units, by the names of their columns."""
    rules = {"name": ("cn",), "roles": ("{ou} {l}",), "businessUnits": ("ou", "departmentNumber")}

    assert Mapper("User", rules).columns_from("ou") == {"roles", "business_units"}
    assert Mapper("User", rules).columns_from("departmentnumber") == {"business_units"}


@given(st.sampled_from(sorted(FULL)), st.sampled_from(sorted(DEFAULT_RULES["User"])))
def test_an_attribute_changes_no_column_but_its_own(attribute: str, member: str) -> None:
    """Without an attribute, all columns that do not depend on it are equal."""
    mapper = Mapper("User", DEFAULT_RULES["User"])
    whole = mapper.to_contact(Record("k", "p", b"", FULL))
    without = mapper.to_contact(
        Record("k", "p", b"", {name: texts for name, texts in FULL.items() if name != attribute})
    )
    assert isinstance(whole, Contact)
    assert isinstance(without, Contact)

    differing = {column for column in Contact._fields if getattr(whole, column) != getattr(without, column)}
    assert differing <= mapper.columns_from(attribute)


def test_the_number_of_attributes_is_limited() -> None:
    """To the 63 bits of the stored mask."""
    named = [f"a{n}" for n in range(64)]

    assert check_rules("User", {"name": tuple(named[:63])}) == []
    assert check_rules("User", {"name": tuple(named)}) == ["more than 63 attributes are named"]
    assert Mapper("User", {"name": tuple(named[:63])}).attribute_mask({name: ["x"] for name in named}) == 2**63 - 1
