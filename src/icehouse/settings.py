"""A vault's settings: a directory with `vault.toml`, or such a file, and the environment on top."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import tomllib
from dataclasses import dataclass, fields, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from icehouse.errors import ConflictError, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "vault.toml"
_ENVIRONMENT = "ICEHOUSE_"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a process is told about its vault. The names are the file's, `section.field`, joined by an underscore."""

    store_url: str = dataclasses.field(repr=False)  # a PostgreSQL URL may hold a password
    hsm_uri: str
    hsm_claim_uri: str = ""
    """Where the claim root key lives; empty for the same HSM."""
    hsm_former_uri: str = ""
    """The HSM that the vault is being moved away from, until it is trimmed."""
    hsm_former_claim_uri: str = ""
    """The same for the claim root key."""
    store_connections: int = 16
    """How many connections to the database a process opens at most; on SQLite these read, and one more writes."""
    fallback_uri: str = ""
    """The simulated module under which new keys are made while the HSM cannot be opened; empty for none."""
    fallback_seconds: float = 5.0
    """After how long an HSM that was away is looked for again."""
    cache_keys: int = 1024
    """How many opened data keys, and how many nodes, a process keeps; 0 turns the cache off."""
    cache_seconds: float = 300.0
    """For how long."""
    offers_seconds: int = 900
    """After how long a later claim may replace an offer."""
    limit_per_second: float = 20.0
    """Unauthenticated messages a second in the long run."""
    limit_burst: int = 200
    """Unauthenticated messages at once."""
    rotation_every_days: int = 0
    """How many days after its last rotation a key is due again; 0 for never."""
    rotation_spread_days: int = 0
    """Up to how many days earlier, so that keys do not all come on one day."""
    rotation_grace_days: int = 14
    """For how long a rotation may be due before it is overdue."""
    rotation_suspend_days: int = 0
    """After how many days of being due a key is suspended; 0 for never."""

    @property
    def claim_uri(self) -> str:
        """The HSM of the claim root key."""
        return self.hsm_claim_uri or self.hsm_uri


_TYPES = {field.name: {"str": str, "int": int, "float": float}[str(field.type)] for field in fields(Settings)}


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read a vault's settings; relative paths in them are relative to the file. Raises `RequestError`."""
    file = path / FILE_NAME if path.is_dir() else path
    try:
        found = _flatten(tomllib.loads(file.read_text(encoding="utf-8")), file)
    except FileNotFoundError as exc:
        msg = f"there is no vault at {path}"
        raise RequestError(msg, hint="make one with 'icehouse init', or name another with --vault") from exc
    except OSError as exc:
        msg = f"{file} cannot be read: {exc.strerror}"
        raise RequestError(msg) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        msg = f"{file} is not TOML: {exc}"
        raise RequestError(msg) from exc
    for name in _TYPES:
        section, _, field = name.partition("_")
        override = environment.get(f"{_ENVIRONMENT}{section.upper()}__{field.upper()}")
        if override is not None:
            found[name] = _convert(name, override)
    missing = [name.replace("_", ".", 1) for name in ("store_url", "hsm_uri") if name not in found]
    if missing:
        msg = f"{file} lacks {' and '.join(missing)}"
        raise RequestError(msg)
    return absolute(Settings(**found), file.parent.absolute())


def read(file: Path) -> Settings:
    """A vault's settings as its file has them: relative paths stay relative, the environment is left out."""
    return Settings(**_flatten(tomllib.loads(file.read_text(encoding="utf-8")), file))


def rewrite(file: Path, settings: Settings, before: Settings) -> None:
    """Put other settings into a vault's file, under the comments at its head: whole or not at all, and durable.

    Raises `ConflictError` where they are not those of `before` any more.
    """
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if read(file) != before:
            msg = f"another process changed {file} meanwhile"
            raise ConflictError(msg)
        _replace(file, settings)
        os.fsync(directory)
    finally:
        os.close(directory)


def _replace(file: Path, settings: Settings) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    head = "".join(takewhile(lambda line: line.startswith("#"), lines))
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(head + dump(settings))
        out.flush()
        os.fsync(descriptor)
    fresh.rename(file)


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
            if name not in _TYPES:
                msg = f"{file}: there is no setting {section}.{field}"
                raise RequestError(msg)
            found[name] = _convert(name, value)
    return found


def _convert(name: str, value: object) -> object:
    kind = _TYPES[name]
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError  # noqa: TRY004, TRY301  one message for both
        converted = kind(value)
    except ValueError:
        msg = f"the setting {name.replace('_', '.', 1)} must be {'a number' if kind is not str else 'text'}"
        raise RequestError(msg) from None
    if kind is not str and converted < 0:
        msg = f"the setting {name.replace('_', '.', 1)} must not be negative"
        raise RequestError(msg)
    return converted


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
