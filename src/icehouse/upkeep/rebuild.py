"""Rebuilding a vault: a directory and a database anew, around the master key that the HSM still has.

As in founding, a plan is written first and becomes the settings file at the end, so that the same call again goes on.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icehouse.errors import ConflictError, HsmRefusedError, RequestError
from icehouse.files import durable_file
from icehouse.hsm import KeyKind
from icehouse.model import Role, State, root_label
from icehouse.store import VaultStore
from icehouse.upkeep.recover import Recovered, recover
from icehouse.vault import settings as vault_settings
from icehouse.vault.directory import held, sqlite_files, undoing, write_new
from icehouse.vault.opening import check_buckets, check_durable, open_roots, recover_vault
from icehouse.vault.settings import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from icehouse.custody import RootKeys
    from icehouse.upkeep.recover import Listed
    from icehouse.vault.settings import Settings

_MASTER = f"-{Role.MASTER}-1"
_PREFIX = "icehouse-"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What is rebuilt: the vault's id, how many nodes its users shared, and the list of its users.

    `floor`: no epoch up to it is offered again to a key whose epochs are not known. `create_unknown`: make a key also
    for users of whom nothing shows that the vault ever had them.
    """

    vault_id: bytes
    buckets: int
    listed: Sequence[Listed]
    floor: int | None = None
    create_unknown: bool = False

    def line(self) -> str:
        """What a plan says of it, so that another one does not go on with it."""
        entries = json.dumps([entry.entry() for entry in self.listed])
        digest = hashlib.sha256(f"{entries} {self.floor} {self.create_unknown}".encode()).hexdigest()
        return f"# vault {self.vault_id.hex()}\n# founded hierarchical, buckets {self.buckets}\n# list {digest}\n"


def rebuild(place: Path, wanted: Settings, what: Rebuild) -> Recovered:
    """Make a hierarchical vault's directory and database anew; never over another, and nothing where the list is wrong.

    Raises `ConflictError` where a vault is already, `RequestError` where the HSM has no such master key or where the
    list does not fit it.
    """
    file = place if place.suffix == ".toml" else place / FILE_NAME
    directory = file.parent.absolute()
    check_buckets("hierarchical", what.buckets)
    settings = vault_settings.absolute(wanted, directory)
    check_durable(settings)
    own = replace(wanted, vault_id=what.vault_id.hex())
    plan, text = file.with_name(f"{file.name}.unfinished"), f"{what.line()}{vault_settings.dump(own)}"
    with undoing() as made, held(directory, made):
        if os.path.lexists(file):
            msg = f"there is a vault already at {file}"
            raise ConflictError(msg, hint="nothing is overwritten: choose another place")
        resumed = _is_resumed(plan, text)
        roots = open_roots(settings)
        try:
            _check_master(roots, what.vault_id)
            if not resumed:
                _check_free(settings)
                write_new(plan, text, made)
            recovered = _recovered(settings, what, roots, made)
        finally:
            roots.close()
        durable_file.promote(plan, file)
    return recovered


def _is_resumed(plan: Path, text: str) -> bool:
    if not plan.exists():
        return False
    if plan.read_text(encoding="utf-8") != text:
        msg = f"an interrupted command left {plan}, and this one has other settings or another list"
        raise ConflictError(msg, hint="repeat it as it was, or remove what it left")
    durable_file.sweep(plan)  # else the settings would have two names for ever
    return True


def _check_free(settings: Settings) -> None:
    existing = VaultStore.open(settings.store_url)
    if existing is not None:
        existing.close()
        msg = "the database holds a vault already"
        raise ConflictError(msg, hint="nothing is overwritten: recover into an empty database")


def _check_master(roots: RootKeys, vault_id: bytes) -> None:
    """Say which vaults the HSM has a master key of, where it has none of this one."""
    try:
        roots.find(root_label(vault_id, Role.MASTER, 1), KeyKind.HMAC)
    except HsmRefusedError as exc:
        labels = [key.label for key in roots.main.keys(_PREFIX) if key.label.endswith(_MASTER)]
        others = ", ".join(label.removeprefix(_PREFIX).removesuffix(_MASTER) for label in labels)
        msg = f"the HSM has no master key of a vault {vault_id.hex()}"
        raise RequestError(msg, hint=f"it has those of {others}" if others else "it has none at all") from exc


def _recovered(settings: Settings, what: Rebuild, roots: RootKeys, made: list[Path]) -> Recovered:
    existing = VaultStore.open(settings.store_url)
    if existing is None:
        made += sqlite_files(settings.store_url)
    else:
        counted = _counted(existing) if existing.vault_id == what.vault_id else None
        existing.close()
        if counted is not None:
            return counted  # a call before this one was killed after its one transaction
    vault = recover_vault(settings, what.vault_id, what.buckets, roots)
    try:
        return recover(vault, what.listed, what.floor, create_unknown=what.create_unknown)
    finally:
        vault.store.close()


def _counted(store: VaultStore) -> Recovered | None:
    states = Counter(key.state for key in store.every_key())
    if not states:
        return None
    return Recovered(states[State.LIVE] + states[State.SUSPENDED], states[State.LOST], states[State.DESTROYED])


def without_epochs(entry: Listed) -> Listed:
    """An entry whose epoch is not taken for granted: its device claims anew."""
    return entry if entry.state is State.DESTROYED else replace(entry, epoch=None, offer_id=None)
