"""The sample people and queues of the demonstration, and their LDIF (RFC 2849): a few hundred names, always the same.

The names cover cases that software often gets wrong: accents, other scripts, commas, quotes, apostrophes, length, no
number, several numbers, distinguished names that need escapes.
"""

import base64
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

BASE = "ou=people,dc=example,dc=com"

# Names in another script are followed by a slash and their Latin form, because logins and addresses are ASCII.
_CULTURES = (
    ("Mary James Olivia Noah Grace", "Smith O'Brien Washington-Lee McArthur D'Angelo"),
    ("Jürgen Käthe Björn Anneliese Friedrich", "Müller Weiß von_der_Heide Schönfeld-Groß Jäger"),
    ("Zoë Étienne Françoise Loïc Maëlle", "Lefèvre D'Aubigné Châtelain Garçon de_La_Fontaine"),
    ("José María_José Íñigo Núria Begoña", "García_Lorca Ibáñez Peña Muñoz-Ortiz de_la_Cruz"),
    ("João Conceição Luís Antônia Gonçalo", "Araújo Simões Brandão Magalhães e_Silva"),
    ("Łukasz Małgorzata Stanisław Żaneta Zbigniew", "Wąsik Brzęczyszczykiewicz Śliwiński Źródło Dąb"),
    ("Søren Åsa Bjørn Þórdís Ægir", "Ødegård Nygård Þorsteinsdóttir Sjöström Kjær"),
    ("İbrahim Şule Çağla Oğuz Gülşen", "Yıldırım Öztürk Çelik Güneş Kılıç"),
    (
        "Γιώργος/Giorgos Ελένη/Eleni Δημήτρης/Dimitris Σοφία/Sofia Νίκος/Nikos",
        "Παπαδόπουλος/Papadopoulos Οικονόμου/Oikonomou Γεωργίου/Georgiou Καζαντζάκης/Kazantzakis Σεφέρης/Seferis",
    ),
    (
        "Иван/Ivan Наталья/Natalya Фёдор/Fyodor Ольга/Olga Юрий/Yuri",
        "Щербаков/Shcherbakov Лермонтов/Lermontov Журавлёв/Zhuravlyov Объедков/Obyedkov Цветаев/Tsvetaev",
    ),
    (
        "محمد/Muhammad فاطمة/Fatima يوسف/Yusuf ليلى/Layla عمر/Omar",
        "الخوارزمي/Al-Khwarizmi حداد/Haddad المصري/Al-Masri درويش/Darwish منصور/Mansour",
    ),
    (
        "伟/Wei 秀英/Xiuying さくら/Sakura 健一/Kenichi 민준/Minjun",
        "王/Wang 欧阳/Ouyang 山田/Yamada 渡邊/Watanabe 김/Kim",
    ),
)

_DEPARTMENTS = ("Sales", "Service", "Claims", "Field Operations", "Human Resources")


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """One inetOrgPerson."""

    login: str
    given: str
    family: str
    department: str
    number: str
    phones: tuple[str, ...] = ()
    mobile: tuple[str, ...] = ()
    rdn: str = ""
    """Relative distinguished name in place of `uid=LOGIN`, escaped by RFC 4514."""

    def attributes(self) -> Iterator[tuple[str, str]]:
        """Yield the attributes of the entry as name and value."""
        for name in ("top", "person", "organizationalPerson", "inetOrgPerson"):
            yield "objectClass", name
        common = f"{self.given} {self.family}"
        yield from (("cn", common), ("sn", self.family), ("givenName", self.given), ("uid", self.login))
        yield from (("employeeNumber", self.number), ("departmentNumber", self.department))
        yield "mail", f"{self.login}@example.com"
        yield from (("telephoneNumber", phone) for phone in self.phones)
        yield from (("mobile", phone) for phone in self.mobile)


def people() -> list[SamplePerson]:
    """Return three hundred ordinary people and nine with difficult names or numbers."""
    return [*_ordinary_people(), *_difficult_people()]


def _ordinary_people() -> Iterator[SamplePerson]:
    pairs = [pair for given, family in _CULTURES for pair in product(given.split(), family.split())]
    taken: set[str] = set()
    for number, (given, family) in enumerate(pairs, start=1):
        first, last = (text.replace("_", " ").partition("/") for text in (given, family))
        login = _make_login(first[2] or first[0], last[2] or last[0])
        login = login if login not in taken else f"{login}{number}"
        taken.add(login)
        yield SamplePerson(
            login=login,
            given=first[0],
            family=last[0],
            department=_DEPARTMENTS[number % len(_DEPARTMENTS)],
            number=f"{10000 + number}",
            phones=() if number % 17 == 0 else (f"+1 555 01{number // 100} {2000 + number}",),
            mobile=(f"+1 555 017 {4000 + number}",) if number % 5 == 0 else (),
        )


def _difficult_people() -> list[SamplePerson]:
    return [
        SamplePerson("jsmithjr", "John", "Smith, Jr.", "Sales", "20001", ("+1 555 0180",), rdn="cn=John Smith\\, Jr."),
        SamplePerson("bigal", 'Albert "Big Al"', "Conner", "Sales", "20002", ("+1 555 0181",),
                     rdn='cn=Albert \\"Big Al\\" Conner'),
        SamplePerson("plus", "Ada + Bob", "<Office>", "Service", "20003", ("2003", "+1 555 0182"),
                     rdn="cn=Ada \\+ Bob \\<Office\\>"),
        SamplePerson("hash", "#1", "Helpdesk; Level=2 \\ Night", "Service", "20004", ("1",),
                     rdn="cn=\\#1 Helpdesk\\; Level\\=2 \\\\ Night"),
        SamplePerson("nonumber", "Nobody", "Reachable", "Claims", "20005"),
        SamplePerson("three", "Threefold", "Reachable", "Claims", "20006", ("+1 555 0183", "+44 20 7946 0183"),
                     ("+44 7700 900183",)),
        SamplePerson("long", "Adolph Blaine Charles David Earl Frederick Gerald Hubert Irvin John Kenneth Lloyd Martin",
                     "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh-Cholmondeley", "Claims", "20007",
                     ("+1 555 0184 ext. 12345",)),
        SamplePerson("mononym", "Sukarno", "Sukarno", "Human Resources", "20008", ("(555) 0185",)),
        SamplePerson("vanity", "Flora", "O’Hara", "Sales", "20009", ("1-800-FLOWERS",)),
    ]  # fmt: skip


def _make_login(first: str, last: str) -> str:
    """Make a login from initial and family name, in lower-case ASCII letters."""
    latin = f"{first[0]}{last}".translate(_TRANSLITERATION)
    plain = unicodedata.normalize("NFKD", latin).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]", "", plain.lower())


_TRANSLITERATION = str.maketrans({
    "ß": "ss", "Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "Þ": "Th", "þ": "th", "æ": "ae", "Æ": "Ae", "ı": "i",
})  # fmt: skip


def ldif() -> str:
    """Return the LDIF of the directory: its suffix, the unit of the people, and all people."""
    organization = [("objectClass", "organization"), ("objectClass", "dcObject"), ("dc", "example")]
    entries = [
        _format_entry("dc=example,dc=com", [*organization, ("o", "Example Contact Center")]),
        _format_entry(BASE, [("objectClass", "organizationalUnit"), ("ou", "people")]),
    ]
    entries += [
        _format_entry(f"{person.rdn or f'uid={person.login}'},{BASE}", list(person.attributes())) for person in people()
    ]
    return "\n".join(entries)


def _format_entry(name: str, attributes: list[tuple[str, str]]) -> str:
    return "".join(_format_attribute(attribute, value) for attribute, value in [("dn", name), *attributes])


def _format_attribute(attribute: str, value: str) -> str:
    """Format one attribute, in base64 if the value is no SAFE-STRING (RFC 2849)."""
    if re.fullmatch(r"(?![ :<])[\x01-\x09\x0b\x0c\x0e-\x7f]*(?<! )", value):
        return f"{attribute}: {value}\n"
    return f"{attribute}:: {base64.b64encode(value.encode()).decode()}\n"


QUEUES = """\
# Edit this file while the demonstration runs: a saved change arrives within a second or two.

[[queue]]
name = "Sales East"
phoneNumber = "+1 555 010 2000"
channel = "voice"

[[queue]]
name = "Sales West"
phoneNumber = "+1 555 010 2001"
channel = "voice"

[[queue]]
name = "Kundendienst München"
phoneNumber = ["+49 89 5550 1030", "1030"]
channel = "voice"

[[queue]]
name = "Web Chat"
channel = "chat"
"""
