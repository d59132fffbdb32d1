"""Settings: every check, all problems at once with key and remedy, and no secret in any message."""

import os
import pickle
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from syncd.core.sync.guard import Limit
from syncd.core.sync.lifecycle import Lifecycle
from syncd.core.sync.sentinel import Sentinel
from syncd.errors import SettingsError
from syncd.settings import DEFAULT_PATH, FileSource, LdapSource, load, read_secret, validation

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
    """Remove the settings of the machine from the environment."""
    for name in [name for name in os.environ if name.upper().startswith("SYNCD_")] + ["CREDENTIALS_DIRECTORY"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the secret of the LDAP source."""
    write_secret(tmp_path / "ldap-password", "hunter2\n")
    return tmp_path


def write_secret(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    """Write a secret file."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def write_settings(folder: Path, text: str) -> Path:
    path = folder / "syncd.toml"
    path.write_text(text, "utf-8")
    return path


def load_problems(folder: Path, text: str) -> list[str]:
    """Load invalid settings and return the problems, without the path of the file."""
    path = write_settings(folder, text)
    with pytest.raises(SettingsError) as caught:
        load(path)
    return [problem.removeprefix(f"{path}: ") for problem in caught.value.problems]


def with_ldap(**changes: str) -> str:
    """Settings with the LDAP source, some of its keys replaced by other TOML, or removed when empty."""
    lines = [line for line in LDAP.strip().splitlines() if line.split(" = ")[0] not in changes]
    lines[1:1] = [f"{key} = {value}" for key, value in changes.items() if value]
    return DATABASE + "\n".join(lines) + "\n"


def test_minimal_settings(folder: Path) -> None:
    """A database is enough; everything else has a default."""
    settings = load(write_settings(folder, DATABASE))

    assert settings.source == ()
    assert (settings.http.listen, settings.log.level, settings.database.password_file) == (
        "127.0.0.1:8080",
        "info",
        None,
    )


def test_both_kinds_of_source(folder: Path) -> None:
    """Paths are taken from the folder of the file, durations and shares become values, maps have defaults."""
    settings = load(write_settings(folder, DATABASE + LDAP + FILE))

    corp, acd = settings.source
    assert isinstance(corp, LdapSource)
    assert isinstance(acd, FileSource)
    assert corp.bind_password_file == folder / "ldap-password"
    assert read_secret(corp.bind_password_file) == "hunter2"
    assert (corp.schedule.every, corp.deadline) == (timedelta(minutes=15), timedelta(minutes=10))
    assert acd.path == folder / "queues.toml"
    assert corp.rules()["emailAddress"] == ("mail",)
    assert acd.rules() == {"channel": ("channel",), "name": ("name",), "phoneNumber": ("phoneNumber",)}
    assert settings.find_source("acd") is acd


def test_settings_cannot_be_changed(folder: Path) -> None:
    """Checked settings stay as they were checked."""
    settings = load(write_settings(folder, DATABASE + LDAP))

    for table, key in ((settings, "source"), (settings.http, "listen"), (settings.source[0], "name")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(table, key, "x")


def test_all_problems_are_reported_at_once(folder: Path) -> None:
    """Each problem is one sentence with file, key and remedy."""
    write_secret(folder / "open", "hunter2\n", 0o644)
    path = write_settings(
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
        'http.listen: \'8080\' is not an address; write "127.0.0.1:8080", "[::1]:8080" or "unix:/path"',
        "log.level: must be 'debug', 'info', 'warning' or 'error'",
        "source[0] 'corp'.tls: \"ldaps\" goes with ldaps:// URLs, not ldap://ldap1.example.com",
        f"source[0] 'corp'.bind_password_file: {folder}/open is readable by others; run: chmod o-rwx {folder}/open",
        "source[0] 'corp'.filter: '(objectClass=person' is not an LDAP filter (RFC 4515): its parentheses do not match",
        'source[0] \'corp\'.deadline: \'10 minutes\' is not a duration; write "90s", "15m", "12h" or "7d"',
        "source[0] 'corp'.schedule.cron: '*/15 6-25 * * *' is no cron expression: '6-25' is no hour (0 to 23)",
        "source[0] 'corp'.schedule.timezone: 'Europe/Berln' is not a time zone; did you mean 'Europe/Berlin'?",
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
        (DATABASE + '[history]\nretention = "1 year"', "history.retention: '1 year' is not a duration"),
        (DATABASE + "[history]\npurge = {}", "history.purge: give either every ="),
        (DATABASE + "[source]\nname = 'corp'", "source: must be [[source]], once for each"),
        ("source = [5]\n" + DATABASE, "source[0]: must be a table"),
        (DATABASE + "[[source]]\nname = 'x'", 'source[0] \'x\': kind is missing; write kind = "ldap" or kind = "file"'),
        (DATABASE + "[[source]]\nkind = 'sql'", 'source[0]: unknown kind \'sql\'; there are "ldap" and "file"'),
    ],
)
def test_shape(folder: Path, text: str, expected: str) -> None:
    """Tables, types, unknown and missing keys are reported with their key."""
    (only,) = load_problems(folder, text)

    assert only.startswith(expected)


@pytest.mark.parametrize(
    ("table", "key", "present"),
    [
        ("", "notice", "alerts"), ("", "sign_in", "authentication"), ("http", "stop_within", "shutdown_timeout"),
        ("http", "max_feeds", "max_streams"), ("log", "repeat", "repeat_interval"), ("history", "keep", "retention"),
        ("alerts", "settle", "resolve_after"), ("authentication", "remember", "cache_ttl"),
        ("authentication", "outage", "offline_ttl"),
    ],
)  # fmt: skip
def test_a_former_name_is_unknown_and_suggests_the_present_one(
    folder: Path, table: str, key: str, present: str
) -> None:
    """The suggestion does not depend on a similar spelling."""
    text = f"[{table}]\n{key} = 1\n" if table else f"[{key}]\n"
    place = f"{table}.{key}" if table else key

    assert f"{place}: unknown key; did you mean {present!r}?" in load_problems(folder, DATABASE + text)


def test_a_former_name_in_a_source_suggests_the_present_one(folder: Path) -> None:
    """A table within a source has its former names, too."""
    assert load_problems(folder, with_ldap(guard="{ small_removals = 7 }")) == [
        "source[0] 'corp'.guard.small_removals: unknown key; did you mean 'small_source_allowance'?"
    ]


def test_a_former_name_in_the_environment_suggests_the_present_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a variable, table and key are replaced together."""
    monkeypatch.setenv("SYNCD_NOTICE__SETTLE", "1m")
    monkeypatch.setenv("SYNCD_SIGN_IN__OUTAGE", "1h")
    monkeypatch.setenv("SYNCD_HTTP__MAX_FEEDS", "7")

    assert sorted(load_problems(folder, DATABASE)) == [
        "environment: SYNCD_HTTP__MAX_FEEDS: unknown key; did you mean 'max_streams'?",
        "environment: SYNCD_NOTICE__SETTLE: unknown; did you mean 'SYNCD_ALERTS__RESOLVE_AFTER'?",
        "environment: SYNCD_SIGN_IN__OUTAGE: unknown; did you mean 'SYNCD_AUTHENTICATION__OFFLINE_TTL'?",
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": '"co rp"'}, "name: must be letters, digits,"),
        ({"name": '""'}, "name: must be letters, digits,"),
        ({"type": '"Custom"'}, "type: must be 'User' or 'Queue'"),
        ({"urls": "[]"}, "urls: "),
        ({"urls": '"ldaps://h"'}, "urls: must be a list"),
        ({"urls": '["https://h"]'}, "urls: 'https://h' is not an LDAP URL; write ldaps://host,"),
        ({"urls": '["ldaps://"]'}, "urls: 'ldaps://' is not an LDAP URL"),
        ({"urls": '["ldaps://h:99999"]'}, "urls: 'ldaps://h:99999' is not an LDAP URL"),
        ({"urls": '["ldaps://[::1"]'}, "urls: 'ldaps://[::1' is not an LDAP URL"),
        ({"urls": '["ldaps://h/dc=x??sub"]'}, "urls: 'ldaps://h/dc=x??sub' is not an LDAP URL"),
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
        ({"filter": '"objectClass=*"'}, "filter: 'objectClass=*' is not an LDAP filter (RFC 4515)"),
        ({"filter": '"(&(a=b)"'}, "filter: '(&(a=b)' is not an LDAP filter"),
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
        ({"schedule": '{ cron = "@hourly" }'}, "schedule.cron: '@hourly' is no cron expression: minute, hour,"),
        ({"schedule": '{ cron = "0 0 30 2 *" }'}, "schedule.cron: '0 0 30 2 *' is never due"),
        (
            {"schedule": '{ cron = "* * * * *", timezone = "CET/Berlin" }'},
            "schedule.timezone: 'CET/Berlin' is not a time zone",
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
    """Each mistake in a source is one sentence with its name and key, without consequential ones."""
    (only,) = load_problems(folder, with_ldap(**changes))

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
def test_a_valid_source(folder: Path, changes: dict[str, str]) -> None:
    """Every form that the contract allows is accepted."""
    assert load(write_settings(folder, with_ldap(**changes))).source[0].name == "corp"


@pytest.mark.parametrize(
    ("url", "valid"),
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
def test_a_database_url(folder: Path, url: str, valid: bool) -> None:
    """Any URL of libpq without a password; a URL with one is rejected, and the message shows no part of it."""
    text = f'[database]\nurl = "{url}"\n'
    if valid:
        assert load(write_settings(folder, text)).database.url == url
        return
    (only,) = load_problems(folder, text)

    assert only.startswith("database.url: ")
    assert "hun" not in only
    assert "ter2" not in only


@pytest.mark.parametrize(
    ("listen", "valid"),
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
def test_an_address_to_listen_on(folder: Path, listen: str, valid: bool) -> None:
    """Host and port or the path of a socket; any other text is quoted beside examples."""
    text = f'{DATABASE}[http]\nlisten = "{listen}"\n'
    if valid:
        assert load(write_settings(folder, text)).http.listen == listen
    else:
        assert load_problems(folder, text)[0].startswith(f"http.listen: {listen!r} is not an address; write ")


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
        assert load_problems(folder, text)[0].startswith("http.public_url: write the base that clients see")
    else:
        assert load(write_settings(folder, text)).http.public_url == expected


@pytest.mark.parametrize(
    ("toml", "share", "number"),
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
def test_limits(  # noqa: PLR0917 - pytest passes them by name
    folder: Path, key: str, limit: str, toml: str, share: float | None, number: int | None
) -> None:
    """A share stays a share and a number a number: "100%" is all, 1 is one contact; both together are both."""
    text = with_ldap(guard=f"{{ {key} = {toml}, min_population = 9, small_source_allowance = 2 }}")

    limits = load(write_settings(folder, text)).source[0].guard.to_limits()

    assert getattr(limits, limit) == Limit(share, number, 9, 2)


@pytest.mark.parametrize(
    ("toml", "members", "at_least"),
    [
        ('userName = "switchboard"', {"userName": "switchboard"}, 1),
        ('roles = "ROLE_AGENT", businessUnits = "Sales", at_least = 40',
         {"roles": "ROLE_AGENT", "businessUnits": "Sales"}, 40),
        ("at_least = 250", {}, 250),
    ],
)  # fmt: skip
def test_a_sentinel(folder: Path, toml: str, members: dict[str, str], at_least: int) -> None:
    """A number of contacts with members; without members, of all contacts."""
    every = '{ name = "cn", userName = "uid", roles = "employeeType", businessUnits = "ou" }'

    settings = load(write_settings(folder, with_ldap(guard=f"{{ sentinel = [{{ {toml} }}] }}", map=every)))

    assert settings.source[0].guard.sentinel[0].to_sentinel() == Sentinel(members, at_least)


def test_a_sentinel_that_no_contact_can_match_is_rejected(folder: Path) -> None:
    """A member that the map does not give would make every run incomplete."""
    with pytest.raises(
        SettingsError, match=r"guard.sentinel\[0\].roles: the map gives this source's contacts no roles"
    ):
        load(write_settings(folder, with_ldap(guard='{ sentinel = [{ roles = "ROLE_AGENT" }] }')))


def test_the_life_cycle(folder: Path) -> None:
    """Defaults: 24 hours and three runs of grace, missing contacts shown, 90 days of retention; all can be set."""
    defaults, custom = (
        load(write_settings(folder, with_ldap(**more))).source[0].lifecycle.to_lifecycle()
        for more in (
            {},
            {"lifecycle": '{ missing = "hide", grace = "2h", grace_runs = 5, retention = "30d" }'},
        )
    )

    assert defaults == Lifecycle(timedelta(hours=24), 3, serve_missing=True, retention=timedelta(days=90))
    assert custom == Lifecycle(timedelta(hours=2), 5, serve_missing=False, retention=timedelta(days=30))


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
    """A secret that is readable by others, empty, missing or not text is rejected with its path, without its value."""
    path = folder / "secret"
    if content is not None:
        write_secret(path, content, mode)
    text = (
        DATABASE + 'password_file = "./secret"\n' if owner == "database" else with_ldap(bind_password_file='"./secret"')
    )
    if expected is None:
        assert load(write_settings(folder, text))
        return
    (only,) = load_problems(folder, text)

    key = "database.password_file" if owner == "database" else "source[0] 'corp'.bind_password_file"
    assert only.startswith(f"{key}: ")
    assert expected in only
    assert str(path if content is not None else folder) in only
    assert "hunter" not in only.replace(str(path), "")


def test_a_secret_keeps_all_but_the_line_end(folder: Path) -> None:
    """Editors add a line end; blanks may belong to the password."""
    assert read_secret(write_secret(folder / "s", " a b \r\n")) == " a b "


def test_a_vanished_secret_is_an_error(folder: Path) -> None:
    """A secret is read at the moment of use, when its file can be gone."""
    with pytest.raises(SettingsError, match=r"cannot read the secret .*/gone: No such file"):
        read_secret(folder / "gone")


def test_a_bare_name_is_a_systemd_credential(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential of LoadCredential= is found by its name; a path with a slash is never a credential."""
    credentials = folder / "credentials"
    credentials.mkdir()
    write_secret(credentials / "ldap", "from systemd", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))

    (corp,) = load(write_settings(folder, with_ldap(bind_password_file='"ldap"'))).source
    (other,) = load(write_settings(folder, with_ldap(bind_password_file='"./ldap-password"'))).source

    assert isinstance(corp, LdapSource)
    assert isinstance(other, LdapSource)
    assert read_secret(corp.bind_password_file or Path()) == "from systemd"
    assert read_secret(other.bind_password_file or Path()) == "hunter2"


def test_a_bare_name_is_found_from_a_shell_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without $CREDENTIALS_DIRECTORY it is the file that the unit loads, and the message names its folder."""
    monkeypatch.setattr(validation, "SECRETS", folder / "secrets")
    (only,) = load_problems(folder, with_ldap(bind_password_file='"ldap-password"'))
    assert "names no file; write the name of a file" in only

    (folder / "secrets").mkdir()
    (only,) = load_problems(folder, with_ldap(bind_password_file='"ldap-password"'))
    assert f"names no file in {folder}/secrets; write the name of a file" in only
    write_secret(folder / "secrets" / "ldap-password", "from the file")

    (corp,) = load(write_settings(folder, with_ldap(bind_password_file='"ldap-password"'))).source
    assert isinstance(corp, LdapSource)
    assert read_secret(corp.bind_password_file or Path()) == "from the file"


def test_no_secret_is_in_the_settings(folder: Path) -> None:
    """Printed, logged or serialised settings show the path of a secret, not its value."""
    write_secret(folder / "db", "correct horse")
    settings = load(write_settings(folder, DATABASE + 'password_file = "./db"\n' + LDAP))

    for text in (repr(settings), str(settings), settings.model_dump_json(), repr(vars(settings))):
        assert "hunter2" not in text
        assert "correct horse" not in text


def test_the_environment_overrides_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key is overridden, the others of its table stay."""
    monkeypatch.setenv("SYNCD_DATABASE__URL", "postgresql://elsewhere/syncd")
    monkeypatch.setenv("SYNCD_DATABASE__POOL_SIZE", "3")
    monkeypatch.setenv("SYNCD_LOG__LEVEL", "debug")

    settings = load(write_settings(folder, DATABASE + 'connect_timeout = "9s"\n'))

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
        ("SYNCD_HTTP__SHUTDOWN_TIMEOUT", "5", "SYNCD_HTTP__SHUTDOWN_TIMEOUT: '5' is not a duration; write"),
        ("SYNCD_DATABASE__URL", "postgresql://a:hunter2@b/c", "SYNCD_DATABASE__URL: a password does not belong here;"),
        ("SYNCD_SOURCE__0__NAME", "x", "SYNCD_SOURCE__0__NAME: must be [[source]], once for each"),
        ("SYNCD_LOG", "level=debug", 'error parsing value for field "log"'),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    """The message names the variable instead of the file, and never a value that may be a secret."""
    monkeypatch.setenv(variable, value)

    (only,) = load_problems(folder, DATABASE)

    assert only.startswith(f"environment: {expected}")
    assert "hunter2" not in only


def test_problems_of_file_and_environment_are_reported_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong variable does not hide a wrong key, nor the other way round."""
    monkeypatch.setenv("SYNCD_LOGS__LEVEL", "debug")

    sentences = load_problems(folder, DATABASE + "pool_size = 0\n")

    assert [sentence.split(": ")[0] for sentence in sentences] == ["database.pool_size", "environment"]


def test_which_file_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path that is passed, else $SYNCD_CONFIG, else the file under /etc."""
    first, second = folder / "first.toml", folder / "second.toml"
    first.write_text(DATABASE + "pool_size = 1\n")
    second.write_text(DATABASE + "pool_size = 2\n")
    monkeypatch.setenv("SYNCD_CONFIG", str(second))

    assert load(first).database.pool_size == 1
    assert load().database.pool_size == 2
    assert Path("/etc/syncd/syncd.toml") == DEFAULT_PATH


def test_relative_paths_start_from_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not depend on the working directory; an absolute path is unchanged."""
    inner = folder / "etc"
    inner.mkdir()
    write_secret(inner / "ldap-password", "x")
    write_settings(inner, DATABASE + LDAP + 'ca_file = "ca.pem"\ncert_file = "/c.pem"\nkey_file = "../k"\n' + FILE)
    monkeypatch.chdir(folder)

    corp, acd = load(Path("etc/syncd.toml")).source

    assert isinstance(corp, LdapSource)
    assert isinstance(acd, FileSource)
    assert (corp.ca_file, corp.cert_file, corp.key_file) == (inner / "ca.pem", Path("/c.pem"), inner / "../k")
    assert corp.bind_password_file == inner / "ldap-password"
    assert acd.path == inner / "queues.toml"


def test_a_missing_file_is_an_error(folder: Path) -> None:
    """The message holds its path and the option that names another."""
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
def test_a_file_that_is_not_toml_is_an_error_with_its_line(folder: Path, text: bytes, where: str) -> None:
    """One sentence with the position of the mistake."""
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


def test_an_unknown_source_suggests_the_most_similar(folder: Path) -> None:
    """The message for a mistyped argument lists the sources."""
    settings = load(write_settings(folder, DATABASE + LDAP + FILE))

    with pytest.raises(SettingsError, match=r"there is no source 'crop'; did you mean 'corp'\?; there are: corp, acd"):
        settings.find_source("crop")


def test_settings_can_be_pickled(folder: Path) -> None:
    """A run in a worker process has equal settings."""
    settings = load(write_settings(folder, DATABASE + LDAP + FILE))

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
    bad = str(write_settings(folder, "[database]\nurl = 'x'\nurll = 'y'\n"))
    process = command("--config", bad, *words) if before else command(*words, "--config", bad)

    assert process.returncode == 78
    assert process.stdout == ""
    assert process.stderr.splitlines() == [
        f"syncd: {bad}: database.url: write a libpq URL: postgresql://user@host/database",
        f"syncd: {bad}: database.urll: unknown key; did you mean 'url'?",
    ]


def test_a_command_takes_its_file_from_the_environment(folder: Path) -> None:
    """$SYNCD_CONFIG names the file where --config does not; --config after a command overrides the one before it."""
    bad, worse = folder / "bad.toml", folder / "worse.toml"

    assert f"syncd: {bad}: cannot be read" in command("status", SYNCD_CONFIG=str(bad)).stderr
    assert f"syncd: {worse}: cannot be read" in command("--config", str(bad), "status", "--config", str(worse)).stderr


def test_an_unknown_source_of_a_command_ends_with_78(folder: Path) -> None:
    """A name that is not in the settings is reported before any connection is made."""
    path = str(write_settings(folder, DATABASE + FILE))

    process = command("sync", "acdd", "--config", path)

    assert process.returncode == 78
    assert "there is no source 'acdd'; did you mean 'acd'?" in process.stderr


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('schedule = { every = "5m" }', timedelta(hours=1)),
        ('schedule = { every = "12h" }', timedelta(hours=36)),
        ('schedule = { cron = "0 6 * * *" }', timedelta(hours=25)),
        ('schedule = { every = "12h" }\nstale_after = "10m"', timedelta(minutes=10)),
    ],
)
def test_the_default_stale_age_follows_the_schedule(tmp_path: Path, lines: str, expected: timedelta) -> None:
    """Contacts are not stale between two regular runs; `stale_after` overrides the default."""
    path = tmp_path / "syncd.toml"
    path.write_text(
        '[database]\nurl = "postgresql://db/syncd"\n[[source]]\nname = "acd"\ntype = "Queue"\nkind = "file"\n'
        f'path = "queues.toml"\n{lines}\n'
    )
    assert load(path).find_source("acd").stale_age == expected


AUTH = """
[authentication]
source = "corp"
agent_groups = ["cn=agents,ou=groups,dc=example,dc=com"]
"""


def test_authentication_takes_the_login_attribute_from_the_map(folder: Path) -> None:
    """The default is the attribute of userName; without the table only tokens are accepted."""
    absent = load(write_settings(folder, DATABASE + LDAP)).authentication
    default = load(write_settings(folder, DATABASE + LDAP + AUTH)).authentication
    mapped = load(
        write_settings(folder, DATABASE + LDAP + '[source.map]\nuserName = ["mail", "uid"]\nname = "cn"' + AUTH)
    )
    named = load(write_settings(folder, DATABASE + LDAP + AUTH + 'user = "employeeNumber"'))

    assert absent is None
    assert default is not None
    assert (default.user, default.cache_ttl, default.offline_ttl) == (
        ("uid",),
        timedelta(minutes=5),
        timedelta(hours=12),
    )
    assert mapped.authentication is not None
    assert mapped.authentication.user == ("mail", "uid")
    assert named.authentication is not None
    assert named.authentication.user == ("employeeNumber",)


def test_authentication_over_a_local_socket_needs_no_tls(folder: Path) -> None:
    """Passwords cross no network on ldapi."""
    local = with_ldap(urls='["ldapi:///run/ldapi"]', tls='"none"')

    assert load(write_settings(folder, local + AUTH)).authentication is not None


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (LDAP + AUTH.replace('"corp"', '"crop"'), "authentication: source", "did you mean 'corp'?; there are: corp"),
        (AUTH, "authentication: source", "there is no source 'corp'"),
        (FILE + AUTH.replace('"corp"', '"acd"'), "authentication: source", 'name one of kind = "ldap"'),
        (LDAP + '[source.map]\nname = "cn"' + AUTH, "authentication: user", "name the attribute"),
        (LDAP + '[source.map]\nname = "cn"\nuserName = "{uid}@x"' + AUTH, "authentication: user", "name the attribute"),
        (LDAP + AUTH + 'user = "uid)(cn"', "authentication.user", "is not an attribute"),
        (LDAP + AUTH + 'admin_groups = ["admins"]', "authentication.admin_groups", "is not a DN"),
        (LDAP + '[authentication]\nsource = "corp"', "authentication.agent_groups", "name a group"),
        (LDAP + '[authentication]\nsource = "corp"\nagent_groups = []', "authentication.agent_groups", "name a group"),
        (LDAP + AUTH + 'cache_ttl = "0s"', "authentication.cache_ttl", "at least 1s"),
        (LDAP + AUTH + "nested = true", "authentication.nested", "did you mean 'nested_groups'?"),
    ],
)  # fmt: skip
def test_invalid_authentication(folder: Path, text: str, place: str, message: str) -> None:
    """An unknown or unsuitable source, no login attribute, no group: each with its remedy."""
    (problem,) = load_problems(folder, DATABASE + text)

    assert problem.startswith(f"{place}: ")
    assert message in problem


def test_authentication_never_sends_passwords_unencrypted(folder: Path) -> None:
    """A source without TLS can be read, but cannot check passwords."""
    unencrypted = with_ldap(urls='["ldap://ldap1.example.com"]', tls='"none"')

    (problem,) = load_problems(folder, unencrypted + AUTH)
    assert 'passwords need "ldaps" or "starttls"' in problem


def test_trusted_proxies(folder: Path) -> None:
    """Networks, addresses and Unix sockets; any other value is reported with examples."""
    text = '[http]\ntrusted_proxies = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7", "unix"]\n'

    assert load(write_settings(folder, DATABASE + text)).http.trusted_proxies[-1] == "unix"
    for wrong in ("10.0.0.1/8", "proxy.example.com", "unix:/run/x"):
        (problem,) = load_problems(folder, DATABASE + f'[http]\ntrusted_proxies = ["{wrong}"]\n')
        assert problem.startswith("http.trusted_proxies: ")
        assert wrong in problem


def test_allowed_origins(folder: Path) -> None:
    """Origins in one spelling, as browsers send them; a URL, a wildcard and `null` are reported with an example."""
    text = '[http]\nallowed_origins = ["HTTPS://Wall.Example.com:443", "http://[::1]:8080"]\n'

    assert load(write_settings(folder, DATABASE + text)).http.allowed_origins == (
        "https://wall.example.com",
        "http://[::1]:8080",
    )
    for wrong in ("*", "null", "wall.example.com", "https://wall.example.com/", "https://*.example.com"):
        (problem,) = load_problems(folder, DATABASE + f'[http]\nallowed_origins = ["{wrong}"]\n')
        assert problem.startswith("http.allowed_origins: ")
        assert repr(wrong) in problem
        assert "https://wall.example.com" in problem


ALERTS = """
[alerts]
resolve_after = "1m"
[alerts.webhook]
url_file = "./hook"
token_file = "./hook-token"
[alerts.mail]
host = "mail.example.com"
sender = "syncd@example.com"
to = ["team@example.com"]
user = "syncd"
password_file = "./ldap-password"
"""


def test_alerts_name_their_secrets_by_file(folder: Path) -> None:
    """Paths start from the folder of the settings; the URL is read when it is needed."""
    write_secret(folder / "hook", "https://chat.example.com/hooks/hunter2\n")
    write_secret(folder / "hook-token", "hunter2\n")

    alerts = load(write_settings(folder, DATABASE + ALERTS)).alerts

    assert alerts.webhook is not None
    assert alerts.webhook.address() == "https://chat.example.com/hooks/hunter2"
    assert "hunter2" not in repr(alerts)
    assert (alerts.resolve_after, alerts.mail and alerts.mail.tls) == (timedelta(minutes=1), "starttls")
    assert load(write_settings(folder, DATABASE)).alerts.webhook is None


MAIL = '[alerts.mail]\nhost = "m"\nsender = "s@x.org"\nto = ["t@x.org"]\n'


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("[alerts.webhook]", "alerts.webhook.url_file", "give either url or"),
        (
            '[alerts.webhook]\nurl = "https://h/x"\nurl_file = "./ldap-password"',
            "alerts.webhook.url_file",
            "give either",
        ),
        ('[alerts.webhook]\nurl_file = "./ldap-password"', "alerts.webhook.url_file", "write a URL"),
        ('[alerts.webhook]\nurl = "ftp://hunter2"', "alerts.webhook.url", "write a URL without a user"),
        ('[alerts.webhook]\nurl = "https://me:hunter2@h/"', "alerts.webhook.url", "write a URL without a user"),
        (MAIL + 'user = "me"', "alerts.mail.password_file", "go together"),
        (MAIL + 'password_file = "./ldap-password"', "alerts.mail.password_file", "go together"),
        (
            MAIL + 'user = "me"\npassword_file = "./ldap-password"\ntls = "none"',
            "alerts.mail.password_file",
            "in clear",
        ),
        (MAIL.replace("s@x.org", "syncd\\nBcc: a@b.c"), "alerts.mail.sender", "is not an address"),
        (MAIL.replace('"t@x.org"', ""), "alerts.mail.to", ""),
        ('[alerts.mial]\nhost = "m"', "alerts.mial", "did you mean 'mail'?"),
    ],
)
def test_alerts_that_cannot_be_sent_are_rejected(folder: Path, text: str, key: str, message: str) -> None:
    """They are rejected when the settings are loaded, and no secret is shown."""
    (problem,) = load_problems(folder, DATABASE + text)

    assert problem.startswith(f"{key}: ")
    assert message in problem
    assert "hunter2" not in problem
