"""Moving a vault to another HSM: first its settings name both, then its root keys flip, then every data key follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse.custody import Verb, check_allowed
from icehouse.errors import ConflictError, RequestError
from icehouse.model import Role, RootState
from icehouse.store import root_keys
from icehouse.store.root_keys import user_roots
from icehouse.upkeep.rewrap import check_next, make_next, prove, successor
from icehouse.upkeep.upkeep import Upkeep
from icehouse.vault import settings as vault_settings
from icehouse.vault.opening import open_vault, tell_of_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from icehouse.hsm import HsmInfo
    from icehouse.model import VaultRecord
    from icehouse.upkeep.rewrap import RewrapPlan
    from icehouse.vault.settings import Settings
    from icehouse.vault.vault import Vault

_ROLES = (Role.KEK, Role.CLAIM)


def move(place: Path, uri: str, advance: Callable[[int], None] = lambda _: None) -> int:
    """Move a vault's root keys to the HSM of a URI; how many data keys this call moved.

    Killed anywhere, the same call finishes it. Raises `RequestError` where they are there already, `HsmError` where
    the HSM cannot take them; then nothing is changed.
    """
    file = place / vault_settings.FILE_NAME if place.is_dir() else place
    after = _after(file, uri)
    if after is not None:
        _prepare(file, after, uri)
    settings = _load(file)
    vault = open_vault(settings, again=lambda: _load(file))
    tell_of_id(file.absolute(), settings, vault)
    try:
        return _finish(vault, advance)
    finally:
        vault.store.close()
        vault.custody.roots.close()


def plan_move(place: Path, uri: str) -> tuple[RewrapPlan, HsmInfo]:
    """What `move` would cost now, and what the HSM of the URI says of itself. Changes nothing, raises as it does."""
    file = place / vault_settings.FILE_NAME if place.is_dir() else place
    after = _after(file, uri)
    vault = open_vault(replace(after or _load(file), fallback_uri=""))
    try:
        if after is not None:
            record, roles, beside = _movable(vault)
            check_next(vault, record, roles, beside)
        return Upkeep(vault).plan_rewrap(), vault.custody.roots.main.info
    finally:
        vault.store.close()
        vault.custody.roots.close()


def _after(file: Path, uri: str) -> Settings | None:
    """The settings of a move that is to be begun; None where it was begun already."""
    before = _load(file)
    after = vault_settings.absolute(_moved(before, uri), file.parent.absolute())
    if not before.hsm_former_uri:
        if after.hsm_uri == before.hsm_uri:
            raise RequestError(_SAME, hint=_SAME_HINT)
        return after
    if after.hsm_uri != before.hsm_uri:
        msg = "the vault is being moved to another HSM already"
        raise ConflictError(msg, hint="finish that first: icehouse rewrap, then icehouse trim --void-backups")
    return None


def _load(file: Path) -> Settings:
    """The vault's settings; those of its HSMs must be the file's, which is what a move rewrites."""
    settings, of_file = vault_settings.load(file), vault_settings.load(file, {"ICEHOUSE_STORE__URL": "sqlite://"})
    for name in ("hsm_uri", "hsm_claim_uri", "hsm_former_uri", "hsm_former_claim_uri"):
        if getattr(settings, name) != getattr(of_file, name):
            variable = f"ICEHOUSE_{name.upper().replace('_', '__', 1)}"
            msg = f"{variable} overrides {file}, so a move written there would not be seen"
            raise RequestError(msg, hint=f"unset {variable}, here and in every process that serves the vault")
    return settings


def _moved(settings: Settings, uri: str) -> Settings:
    """Both HSMs named: the new one for what is made from now on, the old ones for what is still under them."""
    return replace(
        settings,
        hsm_uri=uri,
        hsm_claim_uri="",
        hsm_former_uri=settings.hsm_uri,
        hsm_former_claim_uri=settings.hsm_claim_uri,
    )


def _prepare(file: Path, after: Settings, uri: str) -> None:
    """Make the new root keys and see that they work; only then name both HSMs in the file."""
    written = vault_settings.read(file)
    # A move never falls back: an HSM that cannot be opened is none to move to.
    vault = open_vault(replace(after, fallback_uri=""))
    try:
        record, roles, beside = _movable(vault)
        prove(vault, make_next(vault, record, roles, beside))
        vault_settings.rewrite(file, _moved(written, uri), written)
    finally:
        vault.store.close()
        vault.custody.roots.close()


def _movable(vault: Vault) -> tuple[VaultRecord, list[Role], list[str]]:
    """The settings, the roles that move, and the labels of users' own keys to be made; or `RequestError`."""
    check_allowed(vault.custody, Verb.MOVE)
    if vault.custody.users_own and Upkeep(vault).is_rewrapping():
        msg = "a rewrap to where the keys are was begun and is not finished"
        raise ConflictError(msg, hint="finish it first: icehouse rewrap")
    record = vault.store.reload()
    roles = [role for role in _ROLES if record.current(role) is not None]
    there = {key.label for key in vault.custody.roots.main.keys("icehouse-")}
    if any(root.label in there for role in roles if (root := record.current(role))):
        raise RequestError(_SAME, hint=_SAME_HINT)
    return record, roles, [successor(root) for root in user_roots(vault.store.database, RootState.CURRENT)]


def _finish(vault: Vault, advance: Callable[[int], None]) -> int:
    """Rewrap until everything is home: another process may have rewrapped to where it thought home was."""
    moved = 0
    while not _is_home(vault) or Upkeep(vault).is_rewrapping():
        moved += Upkeep(vault).rewrap(advance)
    return moved


def _is_home(vault: Vault) -> bool:
    """Whether the current root keys are in the HSMs where new ones are made."""
    roots, record = vault.custody.roots, vault.store.reload()
    current = [root for role in _ROLES if (root := record.current(role))]
    current += user_roots(vault.store.database, RootState.CURRENT)
    there = {hsm: {key.label for key in hsm.keys("icehouse-")} for hsm in {roots.main, roots.claim}}
    return all(root.label in there[roots.home(root.role)] for root in current)


_SAME = "the vault's root keys are in that HSM already"
_SAME_HINT = "without --to, rewrap makes a new version of them where they are"


def settle(place: Path) -> None:
    """Forget the HSM that a vault was moved away from. Raises `ConflictError` while the vault still has keys in it."""
    file = place / vault_settings.FILE_NAME if place.is_dir() else place
    written = vault_settings.read(file)
    if not written.hsm_former_uri:
        return
    # Without the former HSM, which may be gone by now.
    vault = open_vault(replace(_load(file), hsm_former_uri="", hsm_former_claim_uri=""))
    try:
        there = {key.label for hsm in vault.custody.roots.hsms for key in hsm.keys("icehouse-")}
        alive = {RootState.CURRENT, RootState.DRAINING, RootState.RETIRING}
        states = root_keys.states(vault.store.database)
        missing = sorted(label for label, state in states.items() if state in alive and label not in there)
    finally:
        vault.store.close()
        vault.custody.roots.close()
    if missing:
        msg = f"the vault still needs {len(missing)} keys of the HSM that it was moved away from: {missing[0]}"
        raise ConflictError(msg, hint="icehouse rewrap, then icehouse trim --void-backups")
    vault_settings.rewrite(file, replace(written, hsm_former_uri="", hsm_former_claim_uri=""), written)
