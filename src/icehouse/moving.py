"""Moving a vault to another HSM: first its settings name both, then its root keys flip, then every data key follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse import settings as vault_settings
from icehouse.ceremonies.rewrap import check_room
from icehouse.directory import held
from icehouse.errors import ConflictError, RequestError
from icehouse.hsm import open_hsm
from icehouse.model import Role, RootState
from icehouse.opening import check_durable, open_vault
from icehouse.store.root_keys import user_roots
from icehouse.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from icehouse.ceremonies.rewrap import RewrapPlan
    from icehouse.ceremonies.vault import Vault
    from icehouse.hsm import HsmInfo
    from icehouse.settings import Settings

_ROLES = (Role.KEK, Role.CLAIM)


def move(place: Path, uri: str, advance: Callable[[int], None] = lambda _: None) -> int:
    """Move a vault's root keys to the HSM of a URI; how many data keys this call moved.

    Killed anywhere, the same call finishes it. Raises `RequestError` where they are there already, `HsmError` where
    the HSM cannot take them; then nothing is changed.
    """
    file = _file_of(place)
    if not file.exists():
        vault_settings.load(file)
    # Two that began at once would each take the other's target for the HSM that is being left.
    with held(file.parent, []):
        before = vault_settings.load(file, {})
        if not before.hsm_former_uri:
            _check_target(file, before, uri)
            vault_settings.rewrite(file, _moved(vault_settings.read(file), uri))
        elif _target_of(file, before, uri) != before.hsm_uri:
            raise ConflictError(_OTHER_MOVE, hint=_FINISH)
    settings = vault_settings.load(file)
    vault = open_vault(settings, again=lambda: vault_settings.load(file))
    try:
        if _is_home(vault) and not Upkeep(vault).is_rewrapping():
            return 0
        return Upkeep(vault).rewrap(advance)
    finally:
        vault.store.close()
        vault.custody.roots.close()


def plan_move(place: Path, uri: str) -> tuple[RewrapPlan, HsmInfo]:
    """What moving a vault to the HSM of a URI would cost now, and what that HSM says of itself. Changes nothing.

    Raises what `move` would raise.
    """
    file = _file_of(place)
    before = vault_settings.load(file, {})
    target = _target_of(file, before, uri)
    if not before.hsm_former_uri:
        _check_target(file, before, uri)
    elif target != before.hsm_uri:
        raise ConflictError(_OTHER_MOVE, hint=_FINISH)
    vault = open_vault(vault_settings.load(file))
    hsm = open_hsm(target)
    try:
        return Upkeep(vault).plan_rewrap(), hsm.info
    finally:
        hsm.close()
        vault.store.close()
        vault.custody.roots.close()


def _file_of(place: Path) -> Path:
    return place / vault_settings.FILE_NAME if place.is_dir() else place


def _target_of(file: Path, before: Settings, uri: str) -> str:
    return vault_settings.absolute(replace(before, hsm_uri=uri), file.parent.absolute()).hsm_uri


def _moved(settings: Settings, uri: str) -> Settings:
    """Both HSMs named: the new one for what is made from now on, the old ones for what is still under them."""
    return replace(
        settings,
        hsm_uri=uri,
        hsm_claim_uri="",
        hsm_former_uri=settings.hsm_uri,
        hsm_former_claim_uri=settings.hsm_claim_uri,
    )


def _check_target(file: Path, before: Settings, uri: str) -> None:
    """Refuse a target that holds the vault's root keys already or cannot take them, before anything is changed."""
    if _target_of(file, before, uri) == before.hsm_uri:
        raise RequestError(_SAME, hint=_SAME_HINT)
    check_durable(_moved(before, _target_of(file, before, uri)))
    vault = open_vault(before)
    try:
        if vault.custody.name == "hierarchical":
            msg = "a hierarchical vault cannot move its master: every share follows from it"
            raise RequestError(msg, hint="convert it first: icehouse rewrap --to-custody hybrid")
        target = open_hsm(_target_of(file, before, uri))
        try:
            labels = [root.label for role in _ROLES if (root := vault.store.record.current(role))]
            if any(key.label in labels for key in target.keys("icehouse-")):
                raise RequestError(_SAME, hint=_SAME_HINT)
            check_room(target, len(labels) + (vault.store.count() if vault.custody.name == "direct" else 0))
        finally:
            target.close()
    finally:
        vault.store.close()
        vault.custody.roots.close()


_SAME = "the vault's root keys are in that HSM already"
_OTHER_MOVE = "the vault is being moved to another HSM already"
_FINISH = "finish that first: icehouse rewrap, then icehouse trim --void-backups"
_SAME_HINT = "without --to, rewrap makes a new version of them where they are"


def _is_home(vault: Vault) -> bool:
    """Whether the current root keys are in the HSM where new ones are made."""
    current = [root for role in _ROLES if (root := vault.store.record.current(role))]
    return all(vault.custody.roots.home(root.role).keys(root.label) for root in current)


def left_behind(vault: Vault) -> list[str]:
    """The vault's keys that are still in an HSM it was moved away from."""
    roots = vault.custody.roots
    states = [state for state in RootState if state is not RootState.RETIRED]
    ours = {root.label for root in user_roots(vault.store.database, *states)}
    ours |= {root.label for root in vault.store.reload().roots if root.state is not RootState.RETIRED}
    former = [hsm for hsm in roots.former if hsm not in {roots.main, roots.claim}]
    return sorted(key.label for hsm in former for key in hsm.keys("icehouse-") if key.label in ours)


def settle(place: Path) -> None:
    """Forget the HSM that a vault was moved away from, once nothing of the vault is in it any more."""
    file = _file_of(place)
    settings = vault_settings.read(file)
    if settings.hsm_former_uri:
        vault_settings.rewrite(file, replace(settings, hsm_former_uri="", hsm_former_claim_uri=""))
