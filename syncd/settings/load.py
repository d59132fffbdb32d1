"""The settings as one object: loaded from a TOML file and the environment, or rejected with every problem.

Each problem is one sentence with file, key, mistake and remedy. It never shows the value of a secret.
"""

import os
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentFault

from syncd.core.operations.health import ExpectedSource
from syncd.core.sync.lifecycle import Lifecycle
from syncd.errors import SettingsError
from syncd.settings.sources import AnySource, FileSource, LdapSource
from syncd.settings.tables import Alerts, Authentication, ContactSettings, Database, History, Http, Log, WorkerSettings
from syncd.settings.validation import DEFAULT_PATH, FORMER_NAMES, did_you_mean, is_attribute

_KINDS: dict[str, type[BaseModel]] = {"ldap": LdapSource, "file": FileSource}
_REPEATED_TABLES = {"source": "source", "sentinel": "source.guard.sentinel"}


class Settings(BaseSettings):
    """All settings. Environment variables such as SYNCD_DATABASE__URL win over the file."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="SYNCD_", env_nested_delimiter="__", validate_default=False
    )

    database: Database
    http: Http = Http()
    log: Log = Log()
    worker: WorkerSettings = WorkerSettings()
    alerts: Alerts = Alerts()
    history: History = History()
    contacts: ContactSettings = ContactSettings()
    source: tuple[AnySource, ...] = ()
    authentication: Authentication | None = None

    @field_validator("authentication")
    @classmethod
    def _check_authentication(cls, table: Authentication | None, info: ValidationInfo) -> Authentication | None:
        """Require a source that exists, protects passwords and has a login attribute, which is filled in."""
        if table is None or "source" not in info.data:  # no source is known while one of them is invalid
            return table
        sources: Mapping[str, AnySource] = {source.name: source for source in info.data["source"]}
        source = sources.get(table.source)
        if source is None:
            names = f"; there are: {', '.join(sources)}" if sources else ""
            raise ValueError(f"source: there is no source {table.source!r}{did_you_mean(table.source, sources)}{names}")
        if not isinstance(source, LdapSource):
            raise ValueError(f'source: {table.source!r} cannot check passwords; name one of kind = "ldap"')  # noqa: TRY004 - pydantic reports ValueError only
        if source.tls == "none" and any(urlsplit(url).scheme != "ldapi" for url in source.urls):
            raise ValueError(f'source: {table.source!r} has tls = "none", and passwords need "ldaps" or "starttls"')
        user = table.user or source.rules().get("userName", ())
        if not user or not all(map(is_attribute, user)):
            raise ValueError("user: name the attribute; the source's map does not tell of which one userName is made")
        return table.model_copy(update={"user": user})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give the environment precedence over the tables of the file, which are keyword arguments."""
        return env_settings, init_settings

    def expected_sources(self) -> list[ExpectedSource]:
        """Convert the sources to the type of `core.operations.health`."""
        return [ExpectedSource(source.name, source.type, source.stale_age) for source in self.source]

    def regions(self) -> tuple[str, ...]:
        """Return every region that a number without a country code may belong to, each once."""
        regions = (self.contacts.default_region, *[source.default_region for source in self.source])
        return tuple(dict.fromkeys(filter(None, regions)))

    def lifecycles(self) -> dict[str, Lifecycle]:
        """Return the lifecycle of the contacts of each source: source name -> lifecycle."""
        return {source.name: source.lifecycle.to_lifecycle() for source in self.source}

    def find_source(self, name: str) -> LdapSource | FileSource:
        """Return the source with a name. Raises SettingsError with the most similar name."""
        for source in self.source:
            if source.name == name:
                return source
        names = [source.name for source in self.source]
        raise SettingsError([f"there is no source {name!r}{did_you_mean(name, names)}; there are: {', '.join(names)}"])


def load(path: Path | None = None) -> Settings:
    """Load settings from `path`, else from $SYNCD_CONFIG, else from /etc/syncd/syncd.toml.

    Raises SettingsError with all problems of the file and the environment.
    """
    path = path or Path(os.environ.get("SYNCD_CONFIG") or DEFAULT_PATH)
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}; name another with --config"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: is not TOML: {error}"]) from error
    _resolve_paths(tables, path.resolve().parent)
    problems = [*_find_duplicate_names(tables, path), *_find_unknown_variables()]
    try:
        settings = Settings(**tables)
    except ValidationError as error:
        raise SettingsError([*_describe(error, tables, path), *problems]) from None
    except EnvironmentFault as error:
        remedy = "set one key at a time, such as SYNCD_DATABASE__URL"
        raise SettingsError([f"environment: {error}; {remedy}", *problems]) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _resolve_paths(tables: dict[str, Any], folder: Path) -> None:
    """Make relative paths absolute, from the folder of the settings file; names of credentials stay as they are."""
    alerts = tables.get("alerts")
    channels = [alerts.get("webhook"), alerts.get("mail")] if isinstance(alerts, dict) else []
    for table in (*_source_tables(tables), *channels, tables.get("database")):
        if not isinstance(table, dict):
            continue
        for key, value in table.items():
            is_path = key in {"path", "ca_file", "cert_file", "key_file"}
            is_secret = key.endswith(("password_file", "token_file", "url_file"))
            if isinstance(value, str) and value and (is_path or (is_secret and "/" in value)):
                table[key] = str(folder / value)


def _source_tables(tables: Mapping[str, Any]) -> list[dict[str, Any]]:
    sources = tables.get("source")
    return [table for table in sources if isinstance(table, dict)] if isinstance(sources, list) else []


def _find_duplicate_names(tables: Mapping[str, Any], path: Path) -> Iterator[str]:
    names = [table.get("name") for table in _source_tables(tables)]
    for name, count in Counter(name for name in names if isinstance(name, str)).items():
        if count > 1:
            yield f"{path}: source: {count} sources are named {name!r}; each needs a name of its own"


def _find_unknown_variables() -> Iterator[str]:
    """Report the variables whose table is unknown; pydantic ignores these, and reports an unknown key itself."""
    tables = {f"SYNCD_{name.upper()}": _nested_model(field) for name, field in Settings.model_fields.items()}
    names = ["SYNCD_CONFIG"]
    names += [f"{table}__{key.upper()}" for table, model in tables.items() if model for key in model.model_fields]
    for variable in sorted(os.environ):
        if variable.startswith("SYNCD_") and variable != "SYNCD_CONFIG" and variable.split("__")[0] not in tables:
            words = variable.removeprefix("SYNCD_").lower().split("__")
            present = "SYNCD_" + "__".join(FORMER_NAMES.get(word, word) for word in words).upper()
            yield f"environment: {variable}: unknown{did_you_mean(present if present in names else variable, names)}"


def _describe(error: ValidationError, tables: Mapping[str, Any], path: Path) -> Iterator[str]:
    """Describe each problem that pydantic found in one sentence."""
    for problem in error.errors(include_url=False):
        key, keys = _locate(problem["loc"], tables)
        message = problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        match problem["type"]:
            case "extra_forbidden":
                message = f"unknown key{did_you_mean(str(problem['loc'][-1]), keys)}"
            case "missing":
                message = "is missing"
            case "model_type" | "model_attributes_type" | "dict_type":
                message = "must be a table"
            case "tuple_type":
                table = _REPEATED_TABLES.get(key.rpartition(".")[2])
                message = f"must be [[{table}]], once for each" if table else "must be a list"
            case "string_pattern_mismatch":
                message = 'must be letters, digits, "." "_" and "-", at most 63, beginning with a letter or digit'
            case "union_tag_not_found":
                message = 'kind is missing; write kind = "ldap" or kind = "file"'
            case "union_tag_invalid":
                message = f'unknown kind {problem["ctx"]["tag"]!r}; there are "ldap" and "file"'
        variable = _find_variable(problem["loc"])
        place = f"environment: {variable}" if variable else f"{path}: {key}"
        for line in message.splitlines():
            yield f"{place}: {line}"


def _find_variable(location: tuple[int | str, ...]) -> str | None:
    """Return the environment variable that set the value at a location, or a table around it."""
    words = [str(word).upper() for word in location]
    names = ["SYNCD_" + "__".join(words[:length]) for length in range(1, len(words) + 1)]
    for variable in os.environ:
        if variable.upper() in names or variable.upper().startswith(f"{names[-1]}__"):
            return variable
    return None


def _locate(location: tuple[int | str, ...], tables: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return the key at a location of pydantic as the file spells it, and the keys allowed in the same table."""
    words: list[str] = []
    model: type[BaseModel] | None = Settings
    keys = list(Settings.model_fields)
    for part in location:
        if isinstance(part, int):
            words = [*words[:-1], _source_title(tables, part) if words == ["source"] else f"{words[-1]}[{part}]"]
            continue
        if part in _KINDS and len(words) == 1 and words[0].startswith("source["):
            model = _KINDS[str(part)]
            continue
        keys = list(model.model_fields) if model is not None else keys
        model = _nested_model(model.model_fields.get(str(part))) if model is not None else None
        words.append(str(part))
    return ".".join(words), keys


def _source_title(tables: Mapping[str, Any], position: int) -> str:
    try:
        return f"source[{position}] {tables['source'][position]['name']!r}"
    except (KeyError, IndexError, TypeError):
        return f"source[{position}]"


def _nested_model(field: FieldInfo | None) -> type[BaseModel] | None:
    """Return the table that a field holds, alone or in a union or tuple."""
    if field is None:
        return None
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
