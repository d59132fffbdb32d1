"""Settings: keys, defaults, units and checks of the TOML file and the environment.

`load` returns one frozen object or raises one error with every problem. `validation` defines the types of values,
`tables` and `sources` the tables of the file, `load` the whole. A secret is never part of the settings: a key holds the
path of its file, and `read_secret` reads it at the moment of use.
"""

from syncd.settings.load import Settings, load
from syncd.settings.sources import AnySource, FileSource, Guard, LdapSource, LifecycleSettings, SentinelSettings
from syncd.settings.tables import (
    Alerts,
    Authentication,
    ContactSettings,
    Database,
    History,
    Http,
    Log,
    Mail,
    Schedule,
    Table,
    Webhook,
    WorkerSettings,
)
from syncd.settings.validation import DEFAULT_PATH, parse_duration, read_secret

__all__ = [
    "DEFAULT_PATH",
    "Alerts",
    "AnySource",
    "Authentication",
    "ContactSettings",
    "Database",
    "FileSource",
    "Guard",
    "History",
    "Http",
    "LdapSource",
    "LifecycleSettings",
    "Log",
    "Mail",
    "Schedule",
    "SentinelSettings",
    "Settings",
    "Table",
    "Webhook",
    "WorkerSettings",
    "load",
    "parse_duration",
    "read_secret",
]
