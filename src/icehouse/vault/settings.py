"""A vault's settings: a directory with `vault.toml`, or such a file, and the environment on top."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from icehouse.errors import ConflictError, IcehouseError, RequestError, StoreError
from icehouse.files import durable_file
from icehouse.files.file_lock import FileLock
from icehouse.vault.setting import Setting, check_variables, number, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "vault.toml"
DAY = 24 * 60 * 60
_LOCK_SECONDS = 30.0
_VAULT_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process is told about its vault. The names are the file's, `section.field`, joined by an underscore."""

    store_url: str = text("the database, as a SQLAlchemy URL", required=True, secret=True)
    hsm_uri: str = text("the HSM of new root keys", required=True)
    hsm_claim_uri: str = text("the HSM of the claim root key; empty for the same HSM")
    hsm_former_uri: str = text("the HSM that the vault is being moved away from, until it is trimmed")
    hsm_former_claim_uri: str = text("the same for the claim root key")
    store_connections: int = number(
        16,
        1,
        10_000,
        "connections",
        "how many connections a process opens at most; on SQLite these read, and one more writes",
    )
    fallback_uri: str = text("the simulated module of new keys while the HSM cannot be opened; empty for none")
    fallback_seconds: float = number(5.0, 0, DAY, "seconds", "after how long an HSM that was away is looked for again")
    cache_keys: int = number(
        1024, 0, 10**6, "keys", "how many opened data keys, and how many nodes, a process keeps; 0 turns the cache off"
    )
    cache_seconds: float = number(300.0, 0, DAY, "seconds", "for how long it keeps them")
    offers_seconds: int = number(900, 0, 365 * DAY, "seconds", "after how long a later claim may replace an offer")
    limit_per_second: float = number(
        20.0, 0, 10**6, "messages a second", "unauthenticated messages a second in the long run"
    )
    limit_burst: int = number(200, 0, 10**9, "messages", "unauthenticated messages at once")
    rotation_every_days: int = number(
        0, 0, 3650, "days", "how many days after its last rotation a key is due again; 0 for never"
    )
    rotation_spread_days: int = number(
        0, 0, 3650, "days", "up to how many days earlier, so that keys do not all come on one day; less than every_days"
    )
    rotation_grace_days: int = number(14, 0, 3650, "days", "for how long a rotation may be due before it is overdue")
    rotation_suspend_days: int = number(
        0, 0, 3650, "days", "after how many days of being due a key is suspended; 0 for never"
    )
    vault_id: str = text("the id of the vault that the database must hold, 32 hexadecimal digits; `init` writes it")

    def __post_init__(self) -> None:
        for setting in TABLE.values():
            setting.checked(getattr(self, setting.attribute))

    @property
    def claim_uri(self) -> str:
        """The HSM of the claim root key."""
        return self.hsm_claim_uri or self.hsm_uri


TABLE = {field.name: Setting.of(field) for field in fields(Settings)}
"""Every setting, by the name of its attribute."""


def check_environment(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse variables of our prefix that nobody reads. Raises `RequestError`."""
    check_variables(environment, TABLE.values())


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read a vault's settings; relative paths in them are relative to the file. Raises `RequestError`."""
    check_environment(environment)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        found = _flatten(tomllib.loads(file.read_text(encoding="utf-8")), file)
    except FileNotFoundError as exc:
        msg = f"there is no vault at {path}"
        raise RequestError(msg, hint="make one with 'icehouse init', or name another with --vault") from exc
    except OSError as exc:
        msg = f"{file} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc
    except ValueError as exc:  # TOMLDecodeError, UnicodeDecodeError, and a number of thousands of digits
        msg = f"{file} is not TOML: {exc}"
        raise RequestError(msg) from exc
    for setting in TABLE.values():
        override = environment.get(setting.variable)
        if override is not None:
            found[setting.attribute] = setting.parsed(override)
    missing = [
        setting.name for setting in TABLE.values() if setting.default is None and not found.get(setting.attribute)
    ]
    if missing:
        msg = f"{file} lacks {' and '.join(missing)}"
        raise RequestError(msg)
    return absolute(_checked(Settings(**found)), file.parent.absolute())


def _checked(settings: Settings) -> Settings:
    if settings.vault_id and not _VAULT_ID.fullmatch(settings.vault_id):
        msg = f"the setting vault.id must be 32 hexadecimal digits, 0 to 9 and a to f, not {settings.vault_id!r}"
        raise RequestError(msg, hint="'icehouse doctor' shows the id of the vault in a database")
    return settings


def read(file: Path) -> Settings:
    """A vault's settings as its file has them: relative paths stay relative, the environment is left out."""
    return Settings(**_flatten(tomllib.loads(file.read_text(encoding="utf-8")), file))


def rewrite(file: Path, settings: Settings, before: Settings) -> None:
    """Put other settings into a vault's file, among its comments and in its order: whole or not at all, and durable.

    Raises `ConflictError` where they are not those of `before` any more.
    """
    try:
        place = durable_file.real(file)
        lock = FileLock.on_directory(place.parent, _LOCK_SECONDS)
    except OSError as exc:
        raise _not_written(file, exc) from exc
    with lock:
        if read(place) != before:
            msg = f"another process changed {file} meanwhile"
            raise ConflictError(msg)
        text = _edited(place.read_text(encoding="utf-8"), settings, before)
        try:
            durable_file.sweep(place)
            durable_file.replace(place, text.encode())
        except OSError as exc:
            raise _not_written(file, exc) from exc


def _edited(text: str, settings: Settings, before: Settings) -> str:
    """A file's text with what changed; all else, comments included, stays as its operator wrote it."""
    import tomlkit  # noqa: PLC0415  a move of the vault is rare

    document = tomlkit.parse(text)
    for field in fields(Settings):
        value = getattr(settings, field.name)
        if value == getattr(before, field.name):
            continue
        section, _, name = field.name.partition("_")
        table = document.setdefault(section, tomlkit.table())
        if value == field.default:
            table.pop(name, None)
        else:
            table[name] = value
        if not table:
            document.remove(section)
    return tomlkit.dumps(document)


def _not_written(file: Path, exc: OSError) -> IcehouseError:
    if isinstance(exc, BlockingIOError):
        msg = f"another process has been making or moving the vault of {file} for {_LOCK_SECONDS:g} seconds"
        return ConflictError(msg, hint="wait until it is done")
    return StoreError(f"{file} cannot be written: {exc.strerror}")


def dump(settings: Settings) -> str:
    """A vault's settings as TOML; those that have their default are left out."""
    sections: dict[str, list[str]] = {}
    for field in fields(Settings):
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        section, _, name = field.name.partition("_")
        line = f"{name} = {_quoted(value) if isinstance(value, str) else value}"
        sections.setdefault(section, [f"[{section}]"]).append(line)
    return "\n".join(line for lines in sections.values() for line in lines) + "\n"


def _quoted(text: str) -> str:
    # A TOML basic string is a JSON string, except that TOML wants DEL escaped and knows no surrogate pairs.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _flatten(document: dict[str, Any], file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section, table in document.items():
        if not isinstance(table, dict):
            msg = f"{file}: {section!r} must be a section"
            raise RequestError(msg)
        for field, value in table.items():
            name = f"{section}_{field}"
            if name not in TABLE:
                msg = f"{file}: there is no setting {section}.{field}"
                raise RequestError(msg, hint="docs/reference/settings.md lists them")
            found[name] = TABLE[name].checked(value)
    return found


def absolute(settings: Settings, directory: Path) -> Settings:
    """The settings with every relative path taken as one in this directory."""
    return replace(
        settings,
        store_url=_absolute_sqlite(settings.store_url, directory),
        hsm_uri=_absolute_hsm(settings.hsm_uri, directory),
        hsm_claim_uri=_absolute_hsm(settings.hsm_claim_uri, directory),
        hsm_former_uri=_absolute_hsm(settings.hsm_former_uri, directory),
        hsm_former_claim_uri=_absolute_hsm(settings.hsm_former_claim_uri, directory),
        fallback_uri=_absolute_hsm(settings.fallback_uri, directory),
    )


def _absolute_sqlite(url: str, directory: Path) -> str:
    prefix = "sqlite:///"
    path = url.removeprefix(prefix)
    if path == url or not path or path.startswith(("/", ":")):
        return url
    return f"{prefix}{directory / path}"


def _absolute_hsm(uri: str, directory: Path) -> str:
    scheme, colon, rest = uri.partition(":")
    path, question, query = rest.partition("?")
    parts = [_absolute_file(part, directory) for part in query.split("&")]
    if scheme == "simulated" and path:
        path = _within(directory, path)
    return f"{scheme}{colon}{path}{question}{'&'.join(parts)}"


def _absolute_file(part: str, directory: Path) -> str:
    name, _, value = part.partition("=")
    if name == "ca":
        return f"{name}={_within(directory, value)}"
    if not name.endswith("-source") or not value.startswith("file:"):
        return part
    return f"{name}=file:{_within(directory, value.removeprefix('file:'))}"


def _within(directory: Path, path: str) -> str:
    """A URI's relative path made absolute; the directory's own name is percent-encoded, the path is already."""
    return path if path.startswith("/") else f"{quote(str(directory))}/{path}"
