"""Founding a vault: its directory, its root keys, its database, and last of all the settings file that names them.

A plan is written first and becomes the settings file at the end. Whatever happens in between, the same call again
finds the plan and goes on: it knows the vault's id, hence the labels of root keys that may exist already.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from icehouse import settings as vault_settings
from icehouse.custody import RootKeys
from icehouse.errors import ConflictError, IcehouseError, RequestError, StoreError
from icehouse.hsm import open_hsm
from icehouse.model import root_label
from icehouse.opening import (
    ROLES_OF,
    check_buckets,
    check_custody,
    check_durable,
    create_vault,
    new_vault_id,
    open_vault,
)
from icehouse.settings import FILE_NAME, Settings
from icehouse.store import VaultStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse.ceremonies.vault import Vault
    from icehouse.hsm import Hsm

STORE = "sqlite:///vault.db"
MODULE = "simulated:hsm.token?pin-source=file:hsm.pin"
"""The simulated module inside the vault's directory, and the file of its PIN."""
_PIN_FILE, _TOKEN_FILE = "hsm.pin", "hsm.token"
_ID_LINE = "# vault "
_PIN_BYTES = 16


@dataclass(frozen=True, slots=True)
class Founded:
    """What was founded."""

    vault_id: bytes
    file: Path
    simulated_inside: bool


def found(place: Path, wanted: Settings, *, custody: str = "hybrid", buckets: int = 0) -> Founded:
    """Make a vault in a directory, or with a settings file of this name; never over another.

    Relative paths of `wanted` are relative to it; `MODULE` as its HSM is made as well. Raises `ConflictError` where a
    vault is already, and whatever the HSM and the database raise. After a crash the same call finishes.
    """
    file = place if place.suffix == ".toml" else place / FILE_NAME
    directory = file.parent.absolute()
    check_buckets(check_custody(custody), buckets)
    settings = vault_settings.absolute(wanted, directory)
    check_durable(settings)
    with _undoing() as made, _held(directory, made):
        founding = _Founding(file, directory, wanted, settings, made)
        founding.found(custody, buckets)
    return Founded(founding.vault_id, file, founding.inside)


class _Founding:
    """One attempt to found a vault. `made` are the files to be taken back when it fails."""

    def __init__(self, file: Path, directory: Path, wanted: Settings, settings: Settings, made: list[Path]) -> None:
        self.file = file
        self.directory = directory
        self.wanted = wanted
        self.settings = settings
        self.made = made
        self.plan = file.with_name(f"{file.name}.unfinished")
        self.inside = wanted.hsm_uri == MODULE
        self.vault_id = b""

    def found(self, custody: str, buckets: int) -> None:
        if self.file.exists():
            msg = f"there is a vault already at {self.file}"
            raise ConflictError(msg, hint="nothing is overwritten: choose another place")
        resumed = self._read_plan()
        if not resumed:
            self._check_free()
            self.vault_id = new_vault_id()
            _write(self.plan, f"{_ID_LINE}{self.vault_id.hex()}\n{vault_settings.dump(self.wanted)}", self.made)
        if self.inside:
            self._make_pin()
        roots = self._open_roots()
        try:
            self._create(custody, buckets, roots)
        except BaseException:
            self._keep_what_a_module_holds(custody, roots)
            raise
        self.plan.rename(self.file)
        _sync(self.directory)

    def _read_plan(self) -> bool:
        if not self.plan.exists():
            return False
        head, _, rest = self.plan.read_text(encoding="utf-8").partition("\n")
        if rest != vault_settings.dump(self.wanted) or not head.startswith(_ID_LINE):
            msg = f"an unfinished init left {self.plan}, and this one has other settings"
            raise ConflictError(msg, hint="repeat it with the same settings, or remove what it left")
        self.vault_id = bytes.fromhex(head.removeprefix(_ID_LINE))
        return True

    def _check_free(self) -> None:
        existing = VaultStore.open(self.settings.store_url)
        if existing is not None:
            existing.close()
            msg = "the database holds a vault already"
            raise ConflictError(msg, hint="nothing is overwritten: choose another store")
        for name in (_PIN_FILE, _TOKEN_FILE) if self.inside else ():
            if (self.directory / name).exists():
                msg = f"{self.directory / name} exists already"
                raise ConflictError(msg, hint="nothing is overwritten: choose another place")

    def _make_pin(self) -> None:
        pin = self.directory / _PIN_FILE
        if not pin.exists():
            _write(pin, f"{secrets.token_hex(_PIN_BYTES)}\n", self.made)

    def _open_roots(self) -> RootKeys:
        first = self._open(self.settings.hsm_uri)
        same = self.settings.claim_uri == self.settings.hsm_uri
        return RootKeys(first, first if same else self._open(self.settings.claim_uri))

    def _open(self, uri: str) -> Hsm:
        """Open an HSM; a simulated one's file is made where there is none, since nobody else makes it."""
        path = _simulated_file(uri)
        if path is None or path.exists():
            return open_hsm(uri)
        self.made += [path, path.with_name(f"{path.name}.lock")]
        return open_hsm(uri, create=True)

    def _create(self, custody: str, buckets: int, roots: RootKeys) -> None:
        existing = VaultStore.open(self.settings.store_url)
        if existing is not None:
            existing.close()
            vault = open_vault(self.settings, roots)
        else:
            self.made += _sqlite_files(self.settings.store_url)
            vault = create_vault(self.settings, custody, roots, vault_id=self.vault_id, buckets=buckets)
        self._close(vault)

    def _close(self, vault: Vault) -> None:
        vault.store.close()
        if vault.vault_id != self.vault_id:
            msg = "the database holds another vault than the one this init began"
            raise ConflictError(msg)

    def _keep_what_a_module_holds(self, custody: str, roots: RootKeys) -> None:
        """Root keys in a module that stays must not be orphaned: their plan is kept, for a repetition to finish."""
        if all(_simulated_file(uri) in self.made for uri in (self.settings.hsm_uri, self.settings.claim_uri)):
            return
        try:
            orphaned = any(roots.home(role).keys(root_label(self.vault_id, role, 1)) for role in ROLES_OF[custody])
        except IcehouseError:
            orphaned = True
        if orphaned:
            self.made.clear()


def _simulated_file(uri: str) -> Path | None:
    """The file of a simulated HSM, of any other HSM None."""
    scheme, _, rest = uri.partition(":")
    return Path(unquote(rest.partition("?")[0])) if scheme == "simulated" else None


def _sqlite_files(url: str) -> list[Path]:
    """The files that SQLite is about to make for a database that is not there."""
    _, found, path = url.partition("sqlite:///")
    if not found or Path(path).exists():
        return []
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", "-shm")]


@contextmanager
def _undoing() -> Iterator[list[Path]]:
    """Files that are taken back when what follows fails; the last one first."""
    made: list[Path] = []
    try:
        yield made
    except BaseException as failure:
        _take_back(made)
        if isinstance(failure, OSError):
            msg = f"{failure.filename or 'the vault'} cannot be written: {failure.strerror}"
            raise StoreError(msg) from failure
        raise


def _take_back(made: list[Path]) -> None:
    for path in reversed(made):
        with suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


@contextmanager
def _held(directory: Path, made: list[Path]) -> Iterator[None]:
    """The directory, made where it is missing, for one `init` at a time."""
    try:
        _make_directory(directory, made)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        msg = f"the vault's directory {directory} cannot be used: {exc.strerror}"
        raise RequestError(msg) from exc
    try:
        _lock(descriptor, directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        msg = f"another init is at work in {directory}"
        raise ConflictError(msg, hint="wait until it is done") from exc


def _make_directory(directory: Path, made: list[Path]) -> None:
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700)
        made.append(path)
        _sync(path.parent)


def _write(path: Path, content: str, made: list[Path]) -> None:
    """A new file for its owner's eyes: whole or not there, and durable."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    made.append(fresh)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    # Unlike a rename, a link refuses a name that is taken.
    os.link(fresh, path)
    made.append(path)
    fresh.unlink()
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
