"""Settings: every rule, every problem at once with its place and remedy, and never a secret in any of it."""

import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import syncd.settings
from syncd.core.sync.guard import Limit
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import SettingsError
from syncd.settings import DEFAULT_PATH, FileSource, LdapSource, load, secret

ROOT = Path(__file__).parents[2]

DATABASE = '[database]\nurl = "postgresql://syncd@localhost/syncd"\n'
LDAP = """
[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = ["ldaps://ldap1.example.com", "ldaps://ldap2.example.com:1636"]
bind_dn = "cn=syncd"
bind_password_file = "./ldap-password"
base = "ou=people"
schedule = { every = "15m" }
"""
FILE = """
[[source]]
name = "acd"
type = "Queue"
kind = "file"
path = "queues.toml"
schedule = { every = "5m" }
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own settings reaches a test."""
    for name in [name for name in os.environ if name.upper().startswith("SYNCD_")] + ["CREDENTIALS_DIRECTORY"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the one secret that LDAP names."""
    kept(tmp_path / "ldap-password", "hunter2\n")
    return tmp_path


def kept(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """A secret in a file."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def written(folder: Path, text: str) -> Path:
    path = folder / "syncd.toml"
    path.write_text(text, "utf-8")
    return path


def problems(folder: Path, text: str) -> list[str]:
    """What is wrong with a file, without its own path in front of each sentence."""
    path = written(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def ldap(**changes: str) -> str:
    """The LDAP source with some of its keys replaced by other TOML, or removed when empty."""
    lines = [line for line in LDAP.strip().splitlines() if line.split(" = ")[0] not in changes]
    lines[1:1] = [f"{key} = {value}" for key, value in changes.items() if value]
    return DATABASE + "\n".join(lines) + "\n"


def test_the_least_that_is_needed(folder: Path) -> None:
    """A database is enough; everything else has a default."""
    settings = load(written(folder, DATABASE))

    assert settings.source == ()
    assert (settings.http.listen, settings.log.level, settings.database.password_file) == (
        "127.0.0.1:8080",
        "info",
        None,
    )


def test_both_kinds_of_source(folder: Path) -> None:
    """Paths are taken from the folder of the file, durations and shares become values, maps have defaults."""
    settings = load(written(folder, DATABASE + LDAP + FILE))

    corp, acd = settings.source
    assert isinstance(corp, LdapSource)
    assert isinstance(acd, FileSource)
    assert corp.bind_password_file == folder / "ldap-password"
    assert secret(corp.bind_password_file) == "hunter2"
    assert (corp.schedule.every, corp.deadline) == (timedelta(minutes=15), timedelta(minutes=10))
    assert acd.path == folder / "queues.toml"
    assert corp.rules()["emailAddress"] == ("mail",)
    assert acd.rules() == {"channel": ("channel",), "name": ("name",), "phoneNumber": ("phoneNumber",)}
    assert settings.named("acd") is acd


def test_settings_cannot_be_changed(folder: Path) -> None:
    """What was checked at the start holds until the end."""
    settings = load(written(folder, DATABASE + LDAP))

    for part, key in ((settings, "source"), (settings.http, "listen"), (settings.source[0], "name")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(part, key, "x")


def test_all_problems_are_told_at_once(folder: Path) -> None:
    """Whoever mends the file mends it once: each problem is one sentence with file, key and what would be right."""
    kept(folder / "open", "hunter2\n", 0o644)
    path = written(
        folder,
        """
sources = 1
[database]
url = "postgresql://syncd:hunter2@localhost/syncd"
pool = 5
[http]
listen = "8080"
[log]
level = "chatty"
[[source]]
name = "corp"
type = "User"
kind = "ldap"
urls = ["ldap://ldap1.example.com"]
bind_dn = "cn=syncd"
bind_password_file = "./open"
base = "ou=people"
filter = "(objectClass=person"
deadline = "10 minutes"
schedule = { cron = "*/15 6-25 * * *", timezone = "Europe/Berln" }
[source.map]
name = "cn"
surname = "sn"
[source.guard]
max_removals = "150%"
[[source]]
name = "corp"
type = "Queue"
kind = "file"
path = "queues.xml"
""",
    )

    with pytest.raises(SettingsError) as caught:
        load(path)

    expected = [
        "sources: unknown key; did you mean 'source'?",
        "database.url: a password does not belong here; put it into a file and name that in password_file",
        "database.pool: unknown key; did you mean 'pool_size'?",
        'http.listen: \'8080\' is no address; write "127.0.0.1:8080", "[::1]:8080" or "unix:/path"',
        "log.level: must be 'debug', 'info', 'warning' or 'error'",
        "source[0] 'corp'.tls: \"ldaps\" goes with ldaps:// URLs, not ldap://ldap1.example.com",
        f"source[0] 'corp'.bind_password_file: {folder}/open is readable by others; run: chmod o-rwx {folder}/open",
        "source[0] 'corp'.filter: '(objectClass=person' is no LDAP filter (RFC 4515): its parentheses do not match",
        'source[0] \'corp\'.deadline: \'10 minutes\' is not a duration; write "90s", "15m", "12h" or "7d"',
        "source[0] 'corp'.schedule.cron: '6-25' is no hour of a cron line; it goes from 0 to 23",
        "source[0] 'corp'.schedule.timezone: 'Europe/Berln' is no time zone; did you mean 'Europe/Berlin'?",
        "source[0] 'corp'.map: surname: a User has no such member; there are businessUnits, emailAddress, employeeId, "
        "firstName, lastName, name, phoneNumber, roles, userName",
        "source[0] 'corp'.guard.max_removals: '150%' is not a share from \"0%\" to \"100%\"; "
        "a number is written without quotes",
        f"source[1] 'corp'.path: {folder}/queues.xml: the ending tells the format; use .toml, .yaml, .json or .csv",
        "source[1] 'corp'.schedule: is missing",
        "source: 2 sources are named 'corp'; each needs a name of its own",
    ]
    assert sorted(caught.value.problems) == sorted(f"{path}: {sentence}" for sentence in expected)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "database: is missing"),
        ("[database]", "database.url: is missing"),
        ("database = 5", "database: must be a table"),
        (DATABASE + "[http]\nlisten = 8080", "http.listen: must be a valid string"),
        (DATABASE + '[http]\nmetrics = "maybe"', "http.metrics: must be a valid boolean, unable to interpret input"),
        (
            DATABASE + 'pool_size = "many"',
            "database.pool_size: must be a valid integer, unable to parse string as an integer",
        ),
        (DATABASE + "pool_size = 0", "database.pool_size: must be greater than or equal to 1"),
        (DATABASE + "connect_timeout = 5", "database.connect_timeout: write a duration as a string with its unit,"),
        (DATABASE + 'connect_timeout = "0s"', "database.connect_timeout: must be at least 1s"),
        (
            DATABASE + 'connect_timeout = "99999999999999d"',
            "database.connect_timeout: '99999999999999d' is longer than",
        ),
        (DATABASE + '[log]\nlevel = "info"\nformta = "json"', "log.formta: unknown key; did you mean 'format'?"),
        (DATABASE + "[log]\nzzz = 1", "log.zzz: unknown key"),
        (DATABASE + '[history]\nkeep = "1 year"', "history.keep: '1 year' is not a duration"),
        (DATABASE + "[history]\npurge = {}", "history.purge: give either every ="),
        (DATABASE + "[source]\nname = 'corp'", "source: must be [[source]], once for each"),
        ("source = [5]\n" + DATABASE, "source[0]: must be a table"),
        (DATABASE + "[[source]]\nname = 'x'", 'source[0] \'x\': kind is missing; write kind = "ldap" or kind = "file"'),
        (DATABASE + "[[source]]\nkind = 'sql'", 'source[0]: unknown kind \'sql\'; there are "ldap" and "file"'),
    ],
)
def test_shape(folder: Path, text: str, expected: str) -> None:
    """Tables, types, unknown and missing keys are told by their place in the file."""
    (only,) = problems(folder, text)

    assert only.startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": '"co rp"'}, "name: must be letters, digits,"),
        ({"name": '""'}, "name: must be letters, digits,"),
        ({"type": '"Custom"'}, "type: must be 'User' or 'Queue'"),
        ({"urls": "[]"}, "urls: "),
        ({"urls": '"ldaps://h"'}, "urls: must be a list"),
        ({"urls": '["https://h"]'}, "urls: 'https://h' is no LDAP URL; write ldaps://host,"),
        ({"urls": '["ldaps://"]'}, "urls: 'ldaps://' is no LDAP URL"),
        ({"urls": '["ldaps://h:99999"]'}, "urls: 'ldaps://h:99999' is no LDAP URL"),
        ({"urls": '["ldaps://[::1"]'}, "urls: 'ldaps://[::1' is no LDAP URL"),
        ({"urls": '["ldaps://h/dc=x??sub"]'}, "urls: 'ldaps://h/dc=x??sub' is no LDAP URL"),
        ({"urls": '["ldaps://cn=x:hunter2@h"]'}, "urls: an LDAP URL here has no user; write bind_dn and"),
        ({"tls": '"starttls"'}, 'tls: "starttls" goes with ldap:// URLs, not ldaps://ldap1'),
        ({"tls": '"none"'}, 'tls: "none" goes with ldap or ldapi:// URLs, not ldaps://ldap1'),
        ({"tls": '"ssl"'}, "tls: must be 'ldaps', 'starttls' or 'none'"),
        ({"urls": '["ldap://h"]'}, 'tls: "ldaps" goes with ldaps:// URLs, not ldap://h'),
        ({"bind_dn": ""}, 'bind_password_file: bind = "simple" needs bind_dn and bind_password_file'),
        ({"bind_password_file": ""}, 'bind_password_file: bind = "simple" needs bind_dn and bind_password_file'),
        ({"bind": '"kerberos"'}, "bind: must be 'simple',"),
        ({"bind_password": '"hunter2"'}, "bind_password: unknown key; did you mean 'bind_password_file'?"),
        ({"cert_file": '"c.pem"'}, "key_file: cert_file and key_file go together"),
        ({"key_file": '"c.key"'}, "key_file: cert_file and key_file go together"),
        ({"base": ""}, "base: is missing"),
        ({"filter": '"objectClass=*"'}, "filter: 'objectClass=*' is no LDAP filter (RFC 4515)"),
        ({"filter": '"(&(a=b)"'}, "filter: '(&(a=b)' is no LDAP filter"),
        ({"scope": '"sub"'}, "scope: must be 'subtree', 'onelevel' or 'base'"),
        ({"page_size": "0"}, "page_size: must be greater than or equal to 1"),
        ({"page_size": "100001"}, "page_size: must be less than or equal to 100000"),
        ({"read_timeout": '"0s"'}, "read_timeout: must be at least 1s"),
        ({"deadline": '"1.5h"'}, "deadline: '1.5h' is not a duration"),
        ({"stale_after": '"-5m"'}, "stale_after: '-5m' is not a duration"),
        ({"schedule": ""}, "schedule: is missing"),
        ({"schedule": '"15m"'}, "schedule: must be a table"),
        ({"schedule": "{}"}, 'schedule: give either every = "15m" or cron = '),
        ({"schedule": '{ every = "1m", cron = "* * * * *" }'}, "schedule: give either every ="),
        ({"schedule": '{ every = "0s" }'}, "schedule.every: must be at least 1s"),
        ({"schedule": '{ every = "5 m", jitter = "x" }'}, "schedule.jitter: 'x' is not a duration"),
        ({"schedule": '{ cron = "@hourly" }'}, "schedule.cron: '@hourly' is no cron line: minute, hour,"),
        ({"schedule": '{ cron = "0 0 30 2 *" }'}, "schedule.cron: '0 0 30 2 *' never comes"),
        (
            {"schedule": '{ cron = "* * * * *", timezone = "CET/Berlin" }'},
            "schedule.timezone: 'CET/Berlin' is no time zone",
        ),
        ({"map": "{ name = 5 }"}, 'map.name: write "attribute", "{template}" or a list of these'),
        ({"map": '{ name = "{cn" }'}, "map: name: '{cn' is neither an attribute name nor a template"),
        ({"map": '{ userName = "uid" }'}, "map: name: is missing; every contact needs one"),
        ({"map": '{ name = "cn", channel = "x" }'}, "map: channel: a User has no such member; there are "),
        ({"guard": "{ max_removals = 0.05 }"}, 'guard.max_removals: write a share such as "5%" or a number'),
        ({"guard": "{ max_removals = -1 }"}, 'guard.max_removals: write a share such as "5%" or a number'),
        ({"guard": "{ max_removals = true }"}, 'guard.max_removals: write a share such as "5%" or a number'),
        ({"guard": '{ max_removals = "5" }'}, 'guard.max_removals: \'5\' is not a share from "0%" to "100%"'),
        ({"guard": "{ min_population = -1 }"}, "guard.min_population: must be greater than or equal to 0"),
        ({"guard": '{ on_empty = "apply" }'}, "guard.on_empty: must be 'hold' or 'remove'"),
        ({"guard": '{ on_emty = "hold" }'}, "guard.on_emty: unknown key; did you mean 'on_empty'?"),
        ({"guard": '{ max_removals = ["5%", "6%"] }'}, 'guard.max_removals: write a share such as "5%", a number, or'),
        ({"guard": "{ max_rejects = [] }"}, 'guard.max_rejects: write a share such as "5%", a number, or one of each'),
        ({"guard": '{ max_purge = ["5%", -1] }'}, 'guard.max_purge: write a share such as "5%" or a number that is'),
        ({"guard": '{ max_attribute_loss = "1 percent" }'}, "guard.max_attribute_loss: '1 percent' is not a share"),
        ({"guard": '{ approval_expires = "0s" }'}, "guard.approval_expires: must be at least 1s"),
        (
            {"guard": '{ sentinel = [{ usrName = "x" }] }'},
            "guard.sentinel[0].usrName: unknown key; did you mean 'userName'?",
        ),
        (
            {"guard": '{ sentinel = [{}, { channel = "voice" }] }'},
            "guard: sentinel[1].channel: a User has no such member; there are businessUnits, emailAddress,",
        ),
        ({"guard": '{ sentinel = [{ name = " " }] }'}, "guard.sentinel[0].name: is empty; leave the key out"),
        ({"guard": "{ sentinel = [{ at_least = 0 }] }"}, "guard.sentinel[0].at_least: must be greater than or equal"),
        ({"guard": '{ sentinel = ["x"] }'}, "guard.sentinel[0]: must be a table"),
        ({"guard": '{ sentinel = { name = "x" } }'}, "guard.sentinel: must be [[source.guard.sentinel]], once for"),
        ({"lifecycle": '{ missing = "gone" }'}, "lifecycle.missing: must be 'show' or 'hide'"),
        ({"lifecycle": "{ grace_runs = 0 }"}, "lifecycle.grace_runs: must be greater than or equal to 1"),
        ({"lifecycle": '{ retention = "0s" }'}, "lifecycle.retention: must be at least 1s"),
        ({"lifecycle": '{ gace = "1d" }'}, "lifecycle.gace: unknown key; did you mean 'grace'?"),
    ],
)
def test_a_source(folder: Path, changes: dict[str, str], expected: str) -> None:
    """Each mistake in a source is one sentence with its name and key, and nothing follows from it."""
    (only,) = problems(folder, ldap(**changes))

    title = changes.get("name", '"corp"').strip('"')
    assert only.startswith(f"source[0] '{title}'.{expected}")
    assert "hunter2" not in only


@pytest.mark.parametrize(
    "changes",
    [
        {"urls": '["ldap://h:389", "ldap://[::1]/"]', "tls": '"starttls"'},
        {"urls": '["ldapi:///run/slapd/ldapi"]', "tls": '"none"', "bind": '"external"'},
        {"bind": '"anonymous"', "bind_dn": "", "bind_password_file": ""},
        {"cert_file": '"c.pem"', "key_file": '"c.key"', "bind": '"external"'},
        {"filter": r'"(&(cn=a\\28b)(!(uid=x*)))"'},
        {"schedule": '{ cron = "*/15 6-22 * * mon-fri", timezone = "Europe/Berlin", jitter = "30s" }'},
        {"schedule": '{ every = " 90 s " }'},
        {"map": '{ name = "{givenName} {sn}", phoneNumber = ["telephoneNumber", "mobile"] }'},
        {"guard": '{ max_removals = "2.5%", min_population = 0, on_empty = "remove" }'},
        {"type": '"Queue"'},
    ],
)
def test_a_source_that_is_fine(folder: Path, changes: dict[str, str]) -> None:
    """What the contract allows is accepted."""
    assert load(written(folder, ldap(**changes))).source[0].name == "corp"


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("postgresql://syncd@db1,db2:5433/syncd?target_session_attrs=read-write", True),
        ("postgres://localhost/syncd", True),
        ("postgresql:///syncd?host=/run/postgresql", True),
        ("postgresql://syncd@[::1]:5432/syncd", True),
        ("postgresql://%2Frun%2Fpostgresql/syncd", True),
        ("postgresql://", False),
        ("mysql://localhost/syncd", False),
        ("host=localhost dbname=syncd", False),
        ("postgresql://syncd:hunter2@localhost/syncd", False),
        ("postgresql://syncd:hun/ter2@localhost/syncd", False),
        ("postgresql://syncd:hun#ter2@localhost/syncd", False),
        ("postgresql://syncd:hun?ter2@localhost/syncd", False),
        ("postgresql://syncd:@localhost/syncd", False),
        ("postgresql://localhost/syncd?password=hunter2", False),
        ("postgresql://localhost/syncd?sslmode=require&pass%77ord=hunter2", False),
        ("postgresql://localhost:hunter2/syncd", False),
        ("postgresql://[::1/syncd", False),
    ],
)
def test_a_database_url(folder: Path, url: str, fine: bool) -> None:
    """Any URL of libpq without a password; one with it is refused without showing any of it."""
    text = f'[database]\nurl = "{url}"\n'
    if fine:
        assert load(written(folder, text)).database.url == url
        return
    (only,) = problems(folder, text)

    assert only.startswith("database.url: ")
    assert "hun" not in only
    assert "ter2" not in only


@pytest.mark.parametrize(
    ("listen", "fine"),
    [
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("0.0.0.0:0", True),
        ("unix:/run/syncd/http.sock", True),
        ("unix:http.sock", False),
        ("localhost", False),
        (":8080", False),
        ("localhost:", False),
        ("localhost:65536", False),
        ("localhost:²", False),
        ("localhost:http", False),
    ],
)
def test_an_address_to_listen_on(folder: Path, listen: str, fine: bool) -> None:
    """Host and port or the path of a socket; anything else is quoted with what it should be."""
    text = f'{DATABASE}[http]\nlisten = "{listen}"\n'
    if fine:
        assert load(written(folder, text)).http.listen == listen
    else:
        assert problems(folder, text)[0].startswith(f"http.listen: {listen!r} is no address; write ")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", ""),
        ("https://directory.example.com", "https://directory.example.com"),
        ("https://example.com/directory/", "https://example.com/directory"),
        ("directory.example.com", None),
        ("https://example.com/?x=1", None),
        ("ftp://example.com", None),
    ],
)
def test_a_public_url(folder: Path, url: str, expected: str | None) -> None:
    """The base that clients see, without a slash at its end."""
    text = f'{DATABASE}[http]\npublic_url = "{url}"\n'
    if expected is None:
        assert problems(folder, text)[0].startswith("http.public_url: write the base that clients see")
    else:
        assert load(written(folder, text)).http.public_url == expected


@pytest.mark.parametrize(
    ("given", "share", "number"),
    [
        ('"5%"', 0.05, None),
        ('"0%"', 0.0, None),
        ('"100 %"', 1.0, None),
        ('"2.5%"', 0.025, None),
        ("1", None, 1),
        ("0", None, 0),
        ('["5%", 200]', 0.05, 200),
        ('[200, "5%"]', 0.05, 200),
        ("[7]", None, 7),
    ],
)
@pytest.mark.parametrize(
    ("key", "limit"),
    [
        ("max_removals", "removals"), ("max_removals_day", "day"), ("max_removals_week", "week"),
        ("max_attribute_loss", "losses"), ("max_rejects", "rejects"), ("max_purge", "purge"),
    ],
)  # fmt: skip
def test_limits(  # noqa: PLR0917 - pytest gives them by name
    folder: Path, key: str, limit: str, given: str, share: float | None, number: int | None
) -> None:
    """A share stays a share and a number a number: "100%" is all, 1 is one contact; both together are both."""
    text = ldap(guard=f"{{ {key} = {given}, min_population = 9, small_removals = 2 }}")

    found = load(written(folder, text)).source[0].guard.limits()

    assert getattr(found, limit) == Limit(share, number, 9, 2)


@pytest.mark.parametrize(
    ("given", "members", "at_least"),
    [
        ('userName = "switchboard"', {"userName": "switchboard"}, 1),
        ('roles = "ROLE_AGENT", businessUnits = "Sales", at_least = 40',
         {"roles": "ROLE_AGENT", "businessUnits": "Sales"}, 40),
        ("at_least = 250", {}, 250),
    ],
)  # fmt: skip
def test_a_sentinel(folder: Path, given: str, members: dict[str, str], at_least: int) -> None:
    """Contacts with these members, so many of them; without members it is a count of all."""
    every = '{ name = "cn", userName = "uid", roles = "employeeType", businessUnits = "ou" }'

    settings = load(written(folder, ldap(guard=f"{{ sentinel = [{{ {given} }}] }}", map=every)))

    assert settings.source[0].guard.sentinel[0].sentinel() == Sentinel(members, at_least)


def test_a_sentinel_that_no_contact_can_match_is_refused(folder: Path) -> None:
    """A member that the map does not give would make every run incomplete."""
    with pytest.raises(
        SettingsError, match=r"guard.sentinel\[0\].roles: the map gives this source's contacts no roles"
    ):
        load(written(folder, ldap(guard='{ sentinel = [{ roles = "ROLE_AGENT" }] }')))


def test_the_life_cycle(folder: Path) -> None:
    """A day and three runs of grace, missing people shown, ninety days to come back; all of it can be set."""
    usual, set_ = (
        load(written(folder, ldap(**more))).source[0].lifecycle.terms()
        for more in (
            {},
            {"lifecycle": '{ missing = "hide", grace = "2h", grace_runs = 5, retention = "30d" }'},
        )
    )

    assert usual == Lifecycle(timedelta(hours=24), 3, shown=True, retention=timedelta(days=90))
    assert set_ == Lifecycle(timedelta(hours=2), 5, shown=False, retention=timedelta(days=30))


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        ("hunter2", 0o640, None),
        ("hunter2", 0o644, "is readable by others; run: chmod o-rwx"),
        ("hunter2", 0o602, "is readable by others; run: chmod o-rwx"),
        ("", 0o600, "is empty; an empty password would be taken as an anonymous sign-in"),
        ("\n \n", 0o600, "is empty;"),
        (b"hunter2\xff", 0o600, "is not UTF-8"),
        (None, 0, "names no file in "),
    ],
)
@pytest.mark.parametrize("owner", ["database", "source"])
def test_a_secret(folder: Path, owner: str, content: str | bytes | None, mode: int, expected: str | None) -> None:
    """A secret that is open to others, empty, missing or no text is refused with the path and without its value."""
    path = folder / "kept"
    if content is not None:
        kept(path, content, mode)
    text = DATABASE + 'password_file = "./kept"\n' if owner == "database" else ldap(bind_password_file='"./kept"')
    if expected is None:
        assert load(written(folder, text))
        return
    (only,) = problems(folder, text)

    key = "database.password_file" if owner == "database" else "source[0] 'corp'.bind_password_file"
    assert only.startswith(f"{key}: ")
    assert expected in only
    assert str(path if content is not None else folder) in only
    assert "hunter" not in only.replace(str(path), "")


def test_a_secret_keeps_all_but_the_line_end(folder: Path) -> None:
    """Editors add a line end; blanks may belong to the password."""
    assert secret(kept(folder / "s", " a b \r\n")) == " a b "


def test_a_secret_that_vanished_is_told(folder: Path) -> None:
    """It is read at the moment of use, and may be gone by then."""
    with pytest.raises(SettingsError, match=r"cannot read the secret .*/gone: No such file"):
        secret(folder / "gone")


def test_a_bare_name_is_a_systemd_credential(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What LoadCredential= passes on is found by its name; a path with a slash is never taken for one."""
    credentials = folder / "credentials"
    credentials.mkdir()
    kept(credentials / "ldap", "from systemd", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))

    (corp,) = load(written(folder, ldap(bind_password_file='"ldap"'))).source
    (other,) = load(written(folder, ldap(bind_password_file='"./ldap-password"'))).source

    assert isinstance(corp, LdapSource)
    assert isinstance(other, LdapSource)
    assert secret(corp.bind_password_file or Path()) == "from systemd"
    assert secret(other.bind_password_file or Path()) == "hunter2"


def test_a_bare_name_is_found_from_a_shell_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no credentials are passed, it is the file that the unit loads them from; so says the message."""
    monkeypatch.setattr(syncd.settings, "SECRETS", folder / "secrets")
    (only,) = problems(folder, ldap(bind_password_file='"ldap-password"'))
    assert "names no file; write the name of a file" in only

    (folder / "secrets").mkdir()
    (only,) = problems(folder, ldap(bind_password_file='"ldap-password"'))
    assert f"names no file in {folder}/secrets; write the name of a file" in only
    kept(folder / "secrets" / "ldap-password", "from the file")

    (corp,) = load(written(folder, ldap(bind_password_file='"ldap-password"'))).source
    assert isinstance(corp, LdapSource)
    assert secret(corp.bind_password_file or Path()) == "from the file"


def test_no_secret_is_in_the_settings(folder: Path) -> None:
    """Whoever prints, logs or pickles the settings shows where a secret is, not what it is."""
    kept(folder / "db", "correct horse")
    settings = load(written(folder, DATABASE + 'password_file = "./db"\n' + LDAP))

    for shown in (repr(settings), str(settings), settings.model_dump_json(), repr(vars(settings))):
        assert "hunter2" not in shown
        assert "correct horse" not in shown


def test_the_environment_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key is overridden, what stands beside it in the file stays."""
    monkeypatch.setenv("SYNCD_DATABASE__URL", "postgresql://elsewhere/syncd")
    monkeypatch.setenv("SYNCD_DATABASE__POOL_SIZE", "3")
    monkeypatch.setenv("SYNCD_LOG__LEVEL", "debug")

    settings = load(written(folder, DATABASE + 'connect_timeout = "9s"\n'))

    assert settings.database.url == "postgresql://elsewhere/syncd"
    assert (settings.database.pool_size, settings.database.connect_timeout) == (3, timedelta(seconds=9))
    assert settings.log.level == "debug"


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SYNCD_DATABSE__URL", "x", "SYNCD_DATABSE__URL: unknown; did you mean 'SYNCD_DATABASE__URL'?"),
        ("SYNCD_DATABASE_URL", "x", "SYNCD_DATABASE_URL: unknown; did you mean 'SYNCD_DATABASE__URL'?"),
        ("SYNCD_CONFG", "x", "SYNCD_CONFG: unknown; did you mean 'SYNCD_CONFIG'?"),
        ("SYNCD_HTTP__LISTN", "x", "SYNCD_HTTP__LISTN: unknown key; did you mean 'listen'?"),
        ("SYNCD_LOG__LEVEL", "loud", "SYNCD_LOG__LEVEL: must be 'debug', 'info', 'warning' or 'error'"),
        ("SYNCD_HTTP__STOP_WITHIN", "5", "SYNCD_HTTP__STOP_WITHIN: '5' is not a duration; write"),
        ("SYNCD_DATABASE__URL", "postgresql://a:hunter2@b/c", "SYNCD_DATABASE__URL: a password does not belong here;"),
        ("SYNCD_SOURCE__0__NAME", "x", "SYNCD_SOURCE__0__NAME: must be [[source]], once for each"),
        ("SYNCD_LOG", "level=debug", 'error parsing value for field "log"'),
    ],
)
def test_a_mistake_in_the_environment_is_told_as_such(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    """By the name of the variable, because the file is not to blame; and never by its value when it may be a secret."""
    monkeypatch.setenv(variable, value)

    (only,) = problems(folder, DATABASE)

    assert only.startswith(f"environment: {expected}")
    assert "hunter2" not in only


def test_problems_of_file_and_environment_are_told_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable does not hide a wrong key, nor the other way round."""
    monkeypatch.setenv("SYNCD_LOGS__LEVEL", "debug")

    found = problems(folder, DATABASE + "pool_size = 0\n")

    assert [sentence.split(": ")[0] for sentence in found] == ["database.pool_size", "environment"]


def test_which_file_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is named, else $SYNCD_CONFIG, else the one under /etc."""
    first, second = folder / "first.toml", folder / "second.toml"
    first.write_text(DATABASE + "pool_size = 1\n")
    second.write_text(DATABASE + "pool_size = 2\n")
    monkeypatch.setenv("SYNCD_CONFIG", str(second))

    assert load(first).database.pool_size == 1
    assert load().database.pool_size == 2
    assert Path("/etc/syncd/syncd.toml") == DEFAULT_PATH


def test_relative_paths_start_from_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from wherever the process happens to be started; an absolute path is left alone."""
    inner = folder / "etc"
    inner.mkdir()
    kept(inner / "ldap-password", "x")
    written(inner, DATABASE + LDAP + 'ca_file = "ca.pem"\ncert_file = "/c.pem"\nkey_file = "../k"\n' + FILE)
    monkeypatch.chdir(folder)

    corp, acd = load(Path("etc/syncd.toml")).source

    assert isinstance(corp, LdapSource)
    assert isinstance(acd, FileSource)
    assert (corp.ca_file, corp.cert_file, corp.key_file) == (inner / "ca.pem", Path("/c.pem"), inner / "../k")
    assert corp.bind_password_file == inner / "ldap-password"
    assert acd.path == inner / "queues.toml"


def test_a_file_that_is_not_there_is_told(folder: Path) -> None:
    """With its path and the way to name another."""
    path = folder / "none.toml"
    with pytest.raises(SettingsError) as caught:
        load(path)

    assert caught.value.problems == (f"{path}: cannot be read: No such file or directory; name another with --config",)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"[database]\nurl = postgresql", "line 2"),
        (b"[database]\n[database]\n", "line 2"),
        (b"\xff", "is not TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_its_line(folder: Path, text: bytes, where: str) -> None:
    """One sentence, with the place of the mistake."""
    path = folder / "syncd.toml"
    path.write_bytes(text)
    with pytest.raises(SettingsError) as caught:
        load(path)

    (only,) = caught.value.problems
    assert only.startswith(f"{path}: is not TOML: ")
    assert where in only


def test_a_file_of_a_windows_editor_is_read(folder: Path) -> None:
    """A byte order mark and other line ends are no mistake."""
    path = folder / "syncd.toml"
    path.write_bytes(b"\xef\xbb\xbf" + DATABASE.replace("\n", "\r\n").encode())

    assert load(path).database.url == "postgresql://syncd@localhost/syncd"


def test_a_source_that_is_not_there_is_told_with_the_nearest(folder: Path) -> None:
    """A mistyped argument of a command is answered with what there is."""
    settings = load(written(folder, DATABASE + LDAP + FILE))

    with pytest.raises(SettingsError, match=r"there is no source 'crop'; did you mean 'corp'\?; there are: corp, acd"):
        settings.named("crop")


def test_settings_survive_the_way_to_a_worker(folder: Path) -> None:
    """A run in another process has the very same settings."""
    settings = load(written(folder, DATABASE + LDAP + FILE))

    assert pickle.loads(pickle.dumps(settings)) == settings


COMMANDS = (["run"], ["sync"], ["plan"], ["plan", "--json"], ["status"], ["migrate"], ["token", "list"])


def command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "syncd", *arguments],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_every_command_ends_with_78(folder: Path, words: list[str], before: bool) -> None:
    """Bad settings end every command with EX_CONFIG and every problem on stderr, and nothing on stdout."""
    bad = str(written(folder, "[database]\nurl = 'x'\nurll = 'y'\n"))
    ended = command("--config", bad, *words) if before else command(*words, "--config", bad)

    assert ended.returncode == 78
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        f"syncd: {bad}: database.url: write a libpq URL: postgresql://user@host/database",
        f"syncd: {bad}: database.urll: unknown key; did you mean 'url'?",
    ]


def test_a_command_takes_its_file_from_the_environment(folder: Path) -> None:
    """$SYNCD_CONFIG names the file where --config does not; the one after the command wins over the one before."""
    bad, worse = folder / "bad.toml", folder / "worse.toml"

    assert f"syncd: {bad}: cannot be read" in command("status", SYNCD_CONFIG=str(bad)).stderr
    assert f"syncd: {worse}: cannot be read" in command("--config", str(bad), "status", "--config", str(worse)).stderr


def test_an_unknown_source_of_a_command_ends_with_78(folder: Path) -> None:
    """A name that is not in the settings is told before anything is connected to."""
    path = str(written(folder, DATABASE + FILE))

    ended = command("sync", "acdd", "--config", path)

    assert ended.returncode == 78
    assert "there is no source 'acdd'; did you mean 'acd'?" in ended.stderr


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('schedule = { every = "5m" }', timedelta(hours=1)),
        ('schedule = { every = "12h" }', timedelta(hours=36)),
        ('schedule = { cron = "0 6 * * *" }', timedelta(hours=25)),
        ('schedule = { every = "12h" }\nstale_after = "10m"', timedelta(minutes=10)),
    ],
)
def test_contacts_are_not_stale_between_two_regular_runs(tmp_path: Path, lines: str, expected: timedelta) -> None:
    """Without a setting the age follows the schedule; with one it is the setting."""
    path = tmp_path / "syncd.toml"
    path.write_text(
        '[database]\nurl = "postgresql://db/syncd"\n[[source]]\nname = "acd"\ntype = "Queue"\nkind = "file"\n'
        f'path = "queues.toml"\n{lines}\n'
    )
    assert load(path).named("acd").stale_age == expected


SIGN_IN = """
[sign_in]
source = "corp"
agent_groups = ["cn=agents,ou=groups,dc=example,dc=com"]
"""


def test_sign_in_takes_the_login_from_the_map(folder: Path) -> None:
    """Without a word about it the attribute is the one that userName is made of, and tokens alone need no table."""
    plain = load(written(folder, DATABASE + LDAP)).sign_in
    usual = load(written(folder, DATABASE + LDAP + SIGN_IN)).sign_in
    mapped = load(written(folder, DATABASE + LDAP + '[source.map]\nuserName = ["mail", "uid"]\nname = "cn"' + SIGN_IN))
    named = load(written(folder, DATABASE + LDAP + SIGN_IN + 'user = "employeeNumber"'))

    assert plain is None
    assert usual is not None
    assert (usual.user, usual.remember, usual.outage) == (("uid",), timedelta(minutes=5), timedelta(hours=12))
    assert mapped.sign_in is not None
    assert mapped.sign_in.user == ("mail", "uid")
    assert named.sign_in is not None
    assert named.sign_in.user == ("employeeNumber",)


def test_sign_in_over_a_local_socket_needs_no_tls(folder: Path) -> None:
    """Passwords cross no network there."""
    local = ldap(urls='["ldapi:///run/ldapi"]', tls='"none"')

    assert load(written(folder, local + SIGN_IN)).sign_in is not None


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (LDAP + SIGN_IN.replace('"corp"', '"crop"'), "sign_in: source", "did you mean 'corp'?; there are: corp"),
        (SIGN_IN, "sign_in: source", "there is no source 'corp'"),
        (FILE + SIGN_IN.replace('"corp"', '"acd"'), "sign_in: source", 'name one of kind = "ldap"'),
        (LDAP + '[source.map]\nname = "cn"' + SIGN_IN, "sign_in: user", "name the attribute"),
        (LDAP + '[source.map]\nname = "cn"\nuserName = "{uid}@x"' + SIGN_IN, "sign_in: user", "name the attribute"),
        (LDAP + SIGN_IN + 'user = "uid)(cn"', "sign_in.user", "is no attribute"),
        (LDAP + SIGN_IN + 'admin_groups = ["admins"]', "sign_in.admin_groups", "is no DN"),
        (LDAP + '[sign_in]\nsource = "corp"', "sign_in.agent_groups", "name a group"),
        (LDAP + '[sign_in]\nsource = "corp"\nagent_groups = []', "sign_in.agent_groups", "name a group"),
        (LDAP + SIGN_IN + 'remember = "0s"', "sign_in.remember", "at least 1s"),
        (LDAP + SIGN_IN + "nested = true", "sign_in.nested", "did you mean 'nested_groups'?"),
    ],
)  # fmt: skip
def test_sign_in_that_cannot_work(folder: Path, text: str, place: str, says: str) -> None:
    """A source that is none or has no passwords to check, no login, no group: each with what would be right."""
    (problem,) = problems(folder, DATABASE + text)

    assert problem.startswith(f"{place}: ")
    assert says in problem


def test_sign_in_never_sends_passwords_in_clear(folder: Path) -> None:
    """A source without TLS may be read if somebody wants to, but nobody's password goes there."""
    open_ = ldap(urls='["ldap://ldap1.example.com"]', tls='"none"')

    (problem,) = problems(folder, open_ + SIGN_IN)
    assert 'passwords need "ldaps" or "starttls"' in problem


def test_trusted_proxies(folder: Path) -> None:
    """Networks, addresses and Unix sockets; anything else is named with what would be right."""
    text = '[http]\ntrusted_proxies = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "unix"]\n'

    assert load(written(folder, DATABASE + text)).http.trusted_proxies[-1] == "unix"
    for wrong in ("10.0.0.1/8", "proxy.example.com", "unix:/run/x"):
        (problem,) = problems(folder, DATABASE + f'[http]\ntrusted_proxies = ["{wrong}"]\n')
        assert problem.startswith("http.trusted_proxies: ")
        assert wrong in problem


NOTICE = """
[notice]
settle = "1m"
[notice.webhook]
url_file = "./hook"
token_file = "./hook-token"
[notice.mail]
host = "mail.example.com"
sender = "syncd@example.com"
to = ["team@example.com"]
user = "syncd"
password_file = "./ldap-password"
"""


def test_notices_name_their_secrets_by_file(folder: Path) -> None:
    """From the folder of the settings; the URL is read when it is needed."""
    kept(folder / "hook", "https://chat.example.com/hooks/hunter2\n")
    kept(folder / "hook-token", "hunter2\n")

    notice = load(written(folder, DATABASE + NOTICE)).notice

    assert notice.webhook is not None
    assert notice.webhook.address() == "https://chat.example.com/hooks/hunter2"
    assert "hunter2" not in repr(notice)
    assert (notice.settle, notice.mail and notice.mail.tls) == (timedelta(minutes=1), "starttls")
    assert load(written(folder, DATABASE)).notice.webhook is None


MAIL = '[notice.mail]\nhost = "m"\nsender = "s@x.org"\nto = ["t@x.org"]\n'


@pytest.mark.parametrize(
    ("text", "where", "says"),
    [
        ("[notice.webhook]", "notice.webhook.url_file", "give either url or"),
        (
            '[notice.webhook]\nurl = "https://h/x"\nurl_file = "./ldap-password"',
            "notice.webhook.url_file",
            "give either",
        ),
        ('[notice.webhook]\nurl_file = "./ldap-password"', "notice.webhook.url_file", "write a URL"),
        ('[notice.webhook]\nurl = "ftp://hunter2"', "notice.webhook.url", "write a URL without a user"),
        ('[notice.webhook]\nurl = "https://me:hunter2@h/"', "notice.webhook.url", "write a URL without a user"),
        (MAIL + 'user = "me"', "notice.mail.password_file", "go together"),
        (MAIL + 'password_file = "./ldap-password"', "notice.mail.password_file", "go together"),
        (
            MAIL + 'user = "me"\npassword_file = "./ldap-password"\ntls = "none"',
            "notice.mail.password_file",
            "in clear",
        ),
        (MAIL.replace("s@x.org", "syncd\\nBcc: a@b.c"), "notice.mail.sender", "is no address"),
        (MAIL.replace('"t@x.org"', ""), "notice.mail.to", ""),
        ('[notice.mial]\nhost = "m"', "notice.mial", "did you mean 'mail'?"),
    ],
)
def test_notices_that_cannot_be_sent_are_refused(folder: Path, text: str, where: str, says: str) -> None:
    """At the start, not in the night when something is wrong; and no secret is shown."""
    (problem,) = problems(folder, DATABASE + text)

    assert problem.startswith(f"{where}: ")
    assert says in problem
    assert "hunter2" not in problem
