"""A directory server for authentication: accounts with passwords, and groups of every kind with their members."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

from syncd.demo.servers import Slapd
from tests.certificate_authority import CertificateAuthority

ROOT = "dc=example,dc=com"
READER = f"cn=reader,{ROOT}"
READER_PASSWORD = "password-of-the-reader"
PEOPLE = f"ou=people,{ROOT}"
GROUPS = f"ou=groups,{ROOT}"
ADMINS, AGENTS, TEAMS = f"cn=admins,{GROUPS}", f"cn=agents,{GROUPS}", f"cn=teams,{GROUPS}"
UNIQUE, POSIX = f"cn=unique,{GROUPS}", f"cn=posix,{GROUPS}"

# login -> (RDN below PEOPLE, password)
ACCOUNTS = {
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


def account_dn(login: str) -> str:
    """Return the DN of an account."""
    return f"{ACCOUNTS[login][0]},{PEOPLE}"


# group -> (object class, attribute, members)
MEMBERSHIPS = {
    ADMINS: ("groupOfNames", "member", [account_dn("ada"), account_dn("a(b)*\\c")]),
    AGENTS: (
        "groupOfNames",
        "member",
        [account_dn("ada"), account_dn('müller, j"ürgen"'), account_dn("*"), account_dn("twin")],
    ),
    UNIQUE: ("groupOfUniqueNames", "uniqueMember", [account_dn("bob")]),
    POSIX: ("posixGroup", "memberUid", ["carl", "(*"]),
    # teams -> north -> east -> dora, and east -> teams again
    TEAMS: ("groupOfNames", "member", [f"cn=north,{GROUPS}"]),
    f"cn=north,{GROUPS}": ("groupOfNames", "member", [f"cn=east,{GROUPS}"]),
    f"cn=east,{GROUPS}": ("groupOfUniqueNames", "uniqueMember", [account_dn("dora"), TEAMS]),
}


def ldif_entry(name: str, *lines: tuple[str, str]) -> str:
    """Return an entry in LDIF (RFC 2849), every value in base64."""
    texts = [("dn", name), *lines]
    return "".join(f"{key}:: {b64encode(value.encode()).decode()}\n" for key, value in texts) + "\n"


def ldif_person(name: str, login: str, password: str) -> str:
    """Return a person in LDIF."""
    return ldif_entry(
        name, ("objectClass", "inetOrgPerson"), ("uid", login), ("sn", login), ("cn", login), ("userPassword", password)
    )


def build_ldif() -> str:
    """Return all entries."""
    text = ldif_entry(ROOT, ("objectClass", "dcObject"), ("objectClass", "organization"), ("o", "Example"))
    text += ldif_entry(
        READER, ("objectClass", "organizationalRole"), ("objectClass", "simpleSecurityObject"), ("cn", "reader"),
        ("userPassword", READER_PASSWORD),
    )  # fmt: skip
    for unit in (PEOPLE, GROUPS):
        text += ldif_entry(unit, ("objectClass", "organizationalUnit"))
    for login, (_, password) in ACCOUNTS.items():
        text += ldif_person(account_dn(login), login, password)
    text += ldif_person(f"cn=other twin,{PEOPLE}", "twin", "twin")
    text += ldif_entry(
        f"cn=mute,{PEOPLE}", ("objectClass", "inetOrgPerson"), ("uid", "mute"), ("sn", "mute"), ("cn", "mute")
    )
    # not among the source's users, whatever its password
    text += ldif_entry(
        f"uid=robot,{PEOPLE}", ("objectClass", "account"), ("objectClass", "simpleSecurityObject"), ("uid", "robot"),
        ("userPassword", "robot"),
    )  # fmt: skip
    for number, (group, (kind, attribute, members)) in enumerate(MEMBERSHIPS.items()):
        more = [("gidNumber", str(number))] if kind == "posixGroup" else []
        text += ldif_entry(group, ("objectClass", kind), *more, *((attribute, member) for member in members))
    return text


# userPassword is for binds only, as usual; and accounts cannot search
ACCESS_RULES = f"""\
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{READER}" read by * none
"""


def serve_slapd(folder: Path, authority: CertificateAuthority) -> Iterator[Slapd]:
    """Run the server, with TLS; a generator for fixtures."""
    server = Slapd(folder, tls=authority.folder, extra="include /etc/ldap/schema/nis.schema\n" + ACCESS_RULES)
    server.create(build_ldif())
    server.start()
    yield server
    server.stop()
