"""Moving a vault to another HSM: first its settings name both, then its root keys flip, then every data key follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse import settings as vault_settings
from icehouse.ceremonies.rewrap import check_room
from icehouse.errors import ConflictError, RequestError
from icehouse.hsm import open_hsm
from icehouse.model import Role
from icehouse.opening import open_vault
from icehouse.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from icehouse.ceremonies.vault import Vault
    from icehouse.settings import Settings

_ROLES = (Role.KEK, Role.CLAIM)


def move(place: Path, uri: str, advance: Callable[[int], None] = lambda _: None) -> int:
    """Move a vault's root keys to the HSM of a URI; how many data keys this call moved.

    Killed anywhere, the same call finishes it. Raises `RequestError` where they are there already, `HsmError` where
    the HSM cannot take them; then nothing is changed.
    """
    file = place / vault_settings.FILE_NAME if place.is_dir() else place
    before = vault_settings.load(file, {})
    if not before.hsm_former_uri:
        _check_target(file, before, uri)
        vault_settings.rewrite(file, _moved(vault_settings.read(file), uri))
    elif vault_settings.absolute(replace(before, hsm_uri=uri), file.parent.absolute()).hsm_uri != before.hsm_uri:
        msg = "the vault is being moved to another HSM already"
        raise ConflictError(msg, hint="finish that first: icehouse rewrap, then icehouse trim --void-backups")
    settings = vault_settings.load(file)
    vault = open_vault(settings, again=lambda: vault_settings.load(file))
    try:
        if _is_home(vault) and not Upkeep(vault).is_rewrapping():
            return 0
        return Upkeep(vault).rewrap(advance)
    finally:
        vault.store.close()
        vault.custody.roots.close()


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
    if uri == before.hsm_uri:
        raise RequestError(_SAME, hint=_SAME_HINT)
    vault = open_vault(before)
    try:
        if vault.custody.name == "hierarchical":
            msg = "a hierarchical vault cannot move its master: every share follows from it"
            raise RequestError(msg, hint="convert it first: icehouse rewrap --to-custody hybrid")
        target = open_hsm(vault_settings.absolute(replace(before, hsm_uri=uri), file.parent.absolute()).hsm_uri)
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
_SAME_HINT = "without --to, rewrap makes a new version of them where they are"


def _is_home(vault: Vault) -> bool:
    """Whether the current root keys are in the HSM where new ones are made."""
    current = [root for role in _ROLES if (root := vault.store.record.current(role))]
    return all(vault.custody.roots.home(root.role).keys(root.label) for root in current)


def settle(place: Path) -> None:
    """Forget the HSM that a vault was moved away from, once nothing of the vault is in it any more."""
    file = place / vault_settings.FILE_NAME if place.is_dir() else place
    settings = vault_settings.read(file)
    if settings.hsm_former_uri:
        vault_settings.rewrite(file, replace(settings, hsm_former_uri="", hsm_former_claim_uri=""))
