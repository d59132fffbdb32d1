"""The people and queues of the demonstration: a few hundred names as they are written in the world, always the same.

What belongs here: sample data and its LDIF (RFC 2849). Names are chosen for what they do to software: accents, other
scripts, commas, quotes, apostrophes, length, no number, several numbers, a distinguished name that needs escapes.
"""

import base64
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

BASE = "ou=people,dc=example,dc=com"

# Where a name is written in another script, its Latin form stands behind the slash: logins and addresses are ASCII.
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
class Person:
    """One inetOrgPerson."""

    login: str
    given: str
    family: str
    department: str
    number: str
    phones: tuple[str, ...] = ()
    mobile: tuple[str, ...] = ()
    rdn: str = ""
    """Another relative name than the login, already escaped by RFC 4514."""

    def attributes(self) -> Iterator[tuple[str, str]]:
        """As they stand in the directory."""
        for name in ("top", "person", "organizationalPerson", "inetOrgPerson"):
            yield "objectClass", name
        common = f"{self.given} {self.family}"
        yield from (("cn", common), ("sn", self.family), ("givenName", self.given), ("uid", self.login))
        yield from (("employeeNumber", self.number), ("departmentNumber", self.department))
        yield "mail", f"{self.login}@example.com"
        yield from (("telephoneNumber", phone) for phone in self.phones)
        yield from (("mobile", phone) for phone in self.mobile)


def people() -> list[Person]:
    """Three hundred ordinary people and a few whom software tends to get wrong."""
    return [*_ordinary(), *_difficult()]


def _ordinary() -> Iterator[Person]:
    pairs = [pair for given, family in _CULTURES for pair in product(given.split(), family.split())]
    taken: set[str] = set()
    for number, (given, family) in enumerate(pairs, start=1):
        first, last = (text.replace("_", " ").partition("/") for text in (given, family))
        login = _login(first[2] or first[0], last[2] or last[0])
        login = login if login not in taken else f"{login}{number}"
        taken.add(login)
        yield Person(
            login=login,
            given=first[0],
            family=last[0],
            department=_DEPARTMENTS[number % len(_DEPARTMENTS)],
            number=f"{10000 + number}",
            phones=() if number % 17 == 0 else (f"+1 555 01{number // 100} {2000 + number}",),
            mobile=(f"+1 555 017 {4000 + number}",) if number % 5 == 0 else (),
        )


def _difficult() -> list[Person]:
    return [
        Person("jsmithjr", "John", "Smith, Jr.", "Sales", "20001", ("+1 555 0180",), rdn="cn=John Smith\\, Jr."),
        Person("bigal", 'Albert "Big Al"', "Conner", "Sales", "20002", ("+1 555 0181",),
               rdn='cn=Albert \\"Big Al\\" Conner'),
        Person("plus", "Ada + Bob", "<Office>", "Service", "20003", ("2003", "+1 555 0182"),
               rdn="cn=Ada \\+ Bob \\<Office\\>"),
        Person("hash", "#1", "Helpdesk; Level=2 \\ Night", "Service", "20004", ("1",),
               rdn="cn=\\#1 Helpdesk\\; Level\\=2 \\\\ Night"),
        Person("nonumber", "Nobody", "Reachable", "Claims", "20005"),
        Person("three", "Threefold", "Reachable", "Claims", "20006", ("+1 555 0183", "+44 20 7946 0183"),
               ("+44 7700 900183",)),
        Person("long", "Adolph Blaine Charles David Earl Frederick Gerald Hubert Irvin John Kenneth Lloyd Martin",
               "Wolfeschlegelsteinhausenbergerdorff-Featherstonehaugh-Cholmondeley", "Claims", "20007",
               ("+1 555 0184 ext. 12345",)),
        Person("mononym", "Sukarno", "Sukarno", "Human Resources", "20008", ("(555) 0185",)),
        Person("vanity", "Flora", "O’Hara", "Sales", "20009", ("1-800-FLOWERS",)),
    ]  # fmt: skip


def _login(first: str, last: str) -> str:
    """Initial and family name in ASCII letters, as companies make them."""
    spelled = f"{first[0]}{last}".translate(_SPELLED)
    plain = unicodedata.normalize("NFKD", spelled).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z]", "", plain.lower())


_SPELLED = str.maketrans({"ß": "ss", "Ł": "L", "ł": "l", "Ø": "O", "ø": "o", "Þ": "Th", "þ": "th", "æ": "ae", "Æ": "Ae",
                          "ı": "i"})  # fmt: skip


def ldif() -> str:
    """The directory: its suffix, the unit of the people, and everyone in it."""
    entries = [
        _entry("dc=example,dc=com", [("objectClass", "organization"), ("objectClass", "dcObject"), ("dc", "example"),
                                     ("o", "Example Contact Center")]),
        _entry(BASE, [("objectClass", "organizationalUnit"), ("ou", "people")]),
    ]  # fmt: skip
    entries += [
        _entry(f"{person.rdn or f'uid={person.login}'},{BASE}", list(person.attributes())) for person in people()
    ]
    return "\n".join(entries)


def _entry(name: str, attributes: list[tuple[str, str]]) -> str:
    return "".join(_line(attribute, value) for attribute, value in [("dn", name), *attributes])


def _line(attribute: str, value: str) -> str:
    """One attribute, in base64 where the text could be mistaken for something else."""
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
