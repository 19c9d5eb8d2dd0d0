"""Founding a vault: its directory, its root keys, its database, and last of all the settings file that names them.

A plan is written first and becomes the settings file at the end. Whatever happens in between, the same call again
finds the plan and goes on: it knows the vault's id, hence the labels of root keys that may exist already.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.custody import Verb, allows, custody_class
from icehouse.errors import ConflictError, IcehouseError
from icehouse.files import durable_file
from icehouse.hsm import open_hsm
from icehouse.model import root_label
from icehouse.store import VaultStore
from icehouse.vault import settings as vault_settings
from icehouse.vault.directory import held, sqlite_files, undoing, write_new
from icehouse.vault.fallback import check_stand_in, make_stand_in, simulated_file
from icehouse.vault.opening import (
    check_buckets,
    check_custody,
    check_durable,
    create_vault,
    new_roles,
    new_vault_id,
    open_roots,
    open_vault,
)
from icehouse.vault.settings import FILE_NAME, Settings

if TYPE_CHECKING:
    from pathlib import Path

    from icehouse.custody import RootKeys
    from icehouse.hsm import Hsm
    from icehouse.vault.vault import Vault

STORE = "sqlite:///vault.db"
MODULE = "simulated:hsm.token?pin-source=file:hsm.pin"
"""The simulated module inside the vault's directory, and the file of its PIN."""
_PIN_FILE, _TOKEN_FILE = "hsm.pin", "hsm.token"
_ID_LINE = "# vault "
_ID = re.compile(r"[0-9a-f]{32}")
_PIN_BYTES = 16


@dataclass(frozen=True, slots=True)
class MadeVault:
    """What was founded."""

    vault_id: bytes
    file: Path
    simulated_inside: bool


def make_vault(place: Path, wanted: Settings, *, custody: str = "hybrid", buckets: int = 0) -> MadeVault:
    """Make a vault in a directory, or with a settings file of this name; never over another.

    Relative paths of `wanted` are relative to it; `MODULE` as its HSM is made as well. Raises `ConflictError` where a
    vault is already, and whatever the HSM and the database raise. After a crash the same call finishes.
    """
    file = place if place.suffix == ".toml" else place / FILE_NAME
    directory = file.parent.absolute()
    check_buckets(check_custody(custody), buckets)
    settings = vault_settings.absolute(wanted, directory)
    check_durable(settings)
    check_stand_in(settings, custody)
    with undoing() as made, held(directory, made):
        founding = _Founding(file, directory, wanted, settings, made)
        founding.found(custody, buckets)
    return MadeVault(founding.vault_id, file, founding.inside)


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
        if os.path.lexists(self.file):
            msg = f"there is a vault already at {self.file}"
            raise ConflictError(msg, hint="nothing is overwritten: choose another place")
        resumed = self._read_plan(custody, buckets)
        if resumed:
            self._sweep()
        else:
            self._check_free()
            self.vault_id = new_vault_id()
            write_new(self.plan, self._text(custody, buckets), self.made)
        if self.inside:
            self._make_pin()
        roots = self._open_roots()
        try:
            self._create(custody, buckets, roots)
        except BaseException:
            self._keep_what_a_module_holds(custody, roots)
            raise
        durable_file.promote(self.plan, self.file)

    def _text(self, custody: str, buckets: int) -> str:
        """What the settings file holds in the end, and the plan until then."""
        own = replace(self.wanted, vault_id=self.vault_id.hex())
        return f"{_ID_LINE}{own.vault_id}\n{_custody_line(custody, buckets)}{vault_settings.dump(own)}"

    def _read_plan(self, custody: str, buckets: int) -> bool:
        if not self.plan.exists():
            return False
        text = self.plan.read_text(encoding="utf-8")
        head = text.partition("\n")[0].removeprefix(_ID_LINE)
        self.vault_id = bytes.fromhex(head) if _ID.fullmatch(head) else b""
        if text != self._text(custody, buckets):
            msg = f"an unfinished init left {self.plan}, and this one has other settings"
            raise ConflictError(msg, hint="repeat it with the same settings, or remove what it left")
        return True

    def _sweep(self) -> None:
        """What the command that was killed may have left half named: its files would have two names for ever."""
        for path in (self.plan, self.directory / _PIN_FILE, self.directory / _TOKEN_FILE):
            durable_file.sweep(path)

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
            write_new(pin, f"{secrets.token_hex(_PIN_BYTES)}\n", self.made)

    def _open_roots(self) -> RootKeys:
        """Open the HSMs; a simulated one's file is made where there is none, since nobody else makes it."""
        opened: dict[str, Hsm] = {}
        try:
            for uri in dict.fromkeys(self._uris()):
                path = simulated_file(uri)
                if path is not None and not path.exists():
                    opened[uri] = (
                        make_stand_in(uri) if uri == self.settings.fallback_uri else open_hsm(uri, create=True)
                    )
                    # Only now: a file that another process made meanwhile was refused, and is not to be taken back.
                    self.made += [path, path.with_name(f"{path.name}.lock")]
            return open_roots(self.settings, known=opened)
        except BaseException:
            if any(hsm.keys("") for hsm in opened.values()):
                self.made.clear()  # others use it already
            raise

    def _uris(self) -> list[str]:
        settings = self.settings
        return [uri for uri in (settings.hsm_uri, settings.claim_uri, settings.fallback_uri) if uri]

    def _create(self, custody: str, buckets: int, roots: RootKeys) -> None:
        existing = VaultStore.open(self.settings.store_url)
        if existing is not None:
            existing.close()
            vault = open_vault(self.settings, roots)
        else:
            self.made += sqlite_files(self.settings.store_url)
            vault = create_vault(self.settings, custody, roots, vault_id=self.vault_id, buckets=buckets)
        self._close(vault)

    def _close(self, vault: Vault) -> None:
        vault.store.close()
        if vault.vault_id != self.vault_id:
            msg = "the database holds another vault than the one this init began"
            raise ConflictError(msg)

    def _keep_what_a_module_holds(self, custody: str, roots: RootKeys) -> None:
        """Root keys in a module that stays must not be orphaned: their plan is kept, for a repetition to finish.

        A module that was made here stays where another vault's keys are in it by now.
        """
        own = f"icehouse-{self.vault_id.hex()}-"
        if self._may_be_written():
            self.made.clear()
            return
        try:
            others = any(not key.label.startswith(own) for hsm in roots.hsms for key in hsm.keys(""))
            if not others and all(simulated_file(uri) in self.made for uri in self._uris()):
                return
            roles = new_roles(custody, roots)
            orphaned = any(roots.home(role).keys(root_label(self.vault_id, role, 1)) for role in roles)
        except IcehouseError:
            orphaned = True
        if orphaned:
            self.made.clear()

    def _may_be_written(self) -> bool:
        """Whether a database server may hold the vault: it was written, or nobody can tell."""
        if self.settings.store_url.startswith("sqlite"):
            return False
        try:
            existing = VaultStore.open(self.settings.store_url)
        except IcehouseError:
            return True
        if existing is not None:
            existing.close()
        return existing is not None and existing.vault_id == self.vault_id


def _custody_line(custody: str, buckets: int) -> str:
    """What nobody reads but people: a hierarchical vault is rebuilt with the buckets that it was made with."""
    return f"# founded {custody}{f', buckets {buckets}' if allows(custody_class(custody), Verb.SHARE_NODES) else ''}\n"
