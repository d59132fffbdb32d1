"""Staff: a directory server with people who may sign in, their passwords, and groups of every kind that hold them."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from syncd.demo.servers import Slapd
from tests.certificate_authority import Authority

ROOT = "dc=example,dc=com"
READER = f"cn=reader,{ROOT}"
READER_PASSWORD = "password-of-the-reader"
PEOPLE = f"ou=people,{ROOT}"
GROUPS = f"ou=groups,{ROOT}"
ADMINS, AGENTS, TEAMS = f"cn=admins,{GROUPS}", f"cn=agents,{GROUPS}", f"cn=teams,{GROUPS}"
UNIQUE, POSIX = f"cn=unique,{GROUPS}", f"cn=posix,{GROUPS}"

# login -> (RDN below PEOPLE, password)
PERSONS = {
    "ada": ("uid=ada", "Lovelace, 1815: \"engine\""),
    "bob": ("uid=bob", "bob's password"),
    "carl": ("uid=carl", "carl's password"),
    "dora": ("uid=dora", "dora's password"),
    "eve": ("uid=eve", "eve's password"),
    "a(b)*\\c": ("uid=a(b)*\\5cc", "brackets"),
    "müller, j\"ürgen\"": ('cn=M\\C3\\BCller\\, J\\"\\C3\\BCrgen\\" \\+ 1', "pässwörd ½ €"),
    "*": ("cn=star \\2a", "twinkle, little star"),
    "twin": ("cn=one twin", "twin"),
    "guest": ("cn=Guest", "guest"),
}  # fmt: skip


def dn(login: str) -> str:
    """The DN of one of them."""
    return f"{PERSONS[login][0]},{PEOPLE}"


# group -> (object class, attribute, members)
HELD = {
    ADMINS: ("groupOfNames", "member", [dn("ada"), dn("a(b)*\\c")]),
    AGENTS: ("groupOfNames", "member", [dn("ada"), dn('müller, j"ürgen"'), dn("*"), dn("twin")]),
    UNIQUE: ("groupOfUniqueNames", "uniqueMember", [dn("bob")]),
    POSIX: ("posixGroup", "memberUid", ["carl", "(*"]),
    # teams -> north -> east -> dora, and east -> teams again
    TEAMS: ("groupOfNames", "member", [f"cn=north,{GROUPS}"]),
    f"cn=north,{GROUPS}": ("groupOfNames", "member", [f"cn=east,{GROUPS}"]),
    f"cn=east,{GROUPS}": ("groupOfUniqueNames", "uniqueMember", [dn("dora"), TEAMS]),
}


def entry(name: str, *lines: tuple[str, str]) -> str:
    """One entry in LDIF (RFC 2849), every value in base64."""
    texts = [("dn", name), *lines]
    return "".join(f"{key}:: {b64encode(value.encode()).decode()}\n" for key, value in texts) + "\n"


def person(name: str, login: str, password: str) -> str:
    """A person in LDIF."""
    return entry(
        name, ("objectClass", "inetOrgPerson"), ("uid", login), ("sn", login), ("cn", login), ("userPassword", password)
    )


def ldif() -> str:
    """All entries."""
    text = entry(ROOT, ("objectClass", "dcObject"), ("objectClass", "organization"), ("o", "Example"))
    text += entry(
        READER, ("objectClass", "organizationalRole"), ("objectClass", "simpleSecurityObject"), ("cn", "reader"),
        ("userPassword", READER_PASSWORD),
    )  # fmt: skip
    for unit in (PEOPLE, GROUPS):
        text += entry(unit, ("objectClass", "organizationalUnit"))
    for login, (_, password) in PERSONS.items():
        text += person(dn(login), login, password)
    text += person(f"cn=other twin,{PEOPLE}", "twin", "twin")
    text += entry(
        f"cn=mute,{PEOPLE}", ("objectClass", "inetOrgPerson"), ("uid", "mute"), ("sn", "mute"), ("cn", "mute")
    )
    # not among the source's users, whatever its password
    text += entry(
        f"uid=robot,{PEOPLE}", ("objectClass", "account"), ("objectClass", "simpleSecurityObject"), ("uid", "robot"),
        ("userPassword", "robot"),
    )  # fmt: skip
    for number, (group, (kind, attribute, members)) in enumerate(HELD.items()):
        more = [("gidNumber", str(number))] if kind == "posixGroup" else []
        text += entry(group, ("objectClass", kind), *more, *((attribute, member) for member in members))
    return text


# passwords are for signing in only, as any sane server has it; and a bind needs no search of anybody's
RULES = f"""\
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
"""


def serve(folder: Path, authority: Authority) -> Iterator[Slapd]:
    """The server, with TLS, for as long as somebody needs it."""
    server = Slapd(folder, tls=authority.folder, extra="include /etc/ldap/schema/nis.schema\n" + RULES)
    server.create(ldif())
    server.start()
    yield server
    server.stop()
