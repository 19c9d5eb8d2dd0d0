"""The seal of a vault's settings: made by the HSM, so that the database alone cannot change them (ADR 0003)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icehouse._core import DataKey, context_digest
from icehouse.errors import HsmUnavailableError, SealError
from icehouse.hsm import KeyKind
from icehouse.model import Role

if TYPE_CHECKING:
    from icehouse.custody.roots import RootKeys
    from icehouse.model import RootKey, VaultRecord


_CHANGED = "the vault's settings in the database were changed: the HSM did not see these"


def _context(record: VaultRecord) -> bytes:
    """Everything about the settings that decides something; a role that has no key stands as an empty label."""
    labels = [root.label if (root := record.current(role)) else "" for role in (Role.KEK, Role.CLAIM, Role.MASTER)]
    try:
        return context_digest("settings", [record.vault_id, record.custody, record.buckets, *labels])
    except (OverflowError, TypeError) as exc:
        raise SealError(_CHANGED) from exc


def _keeper(record: VaultRecord) -> RootKey:
    # A vault that was made while its HSM was away has stand-ins only, until it is promoted.
    for role in (Role.MASTER, Role.KEK, Role.CLAIM, Role.SOFTWARE_KEK, Role.SOFTWARE_CLAIM):
        root = record.current(role)
        if root is not None:
            return root
    msg = "the vault's database names no current root key"
    raise SealError(msg)


def seal_settings(record: VaultRecord, roots: RootKeys) -> bytes:
    """The seal of these settings. One HSM operation."""
    root = _keeper(record)
    if root.role is Role.MASTER:
        hsm, key = roots.find(root.label, KeyKind.HMAC)
        return hsm.mac(key, _context(record)).settings_tag()
    hsm, key = roots.find(root.label, KeyKind.AES)
    # The wrapped key is thrown away: what counts is that the HSM saw the settings as context.
    return hsm.wrap(key, DataKey.random(), _context(record))


def check_settings(record: VaultRecord, roots: RootKeys) -> None:
    """Raise `SealError` unless the HSM saw these settings. One HSM operation.

    Where the HSM is away and a software module stands in for it, that is put off until the HSM is back.
    """
    try:
        _check(record, roots)
    except HsmUnavailableError:
        if not roots.absent:
            raise
        roots.vouched = False
    else:
        roots.vouched = True


def _check(record: VaultRecord, roots: RootKeys) -> None:
    root = _keeper(record)
    if root.role is Role.MASTER:
        if seal_settings(record, roots) != record.seal:
            raise SealError(_CHANGED)
        return
    hsm, key = roots.find(root.label, KeyKind.AES)
    try:
        hsm.unwrap(key, record.seal, _context(record))
    except SealError as exc:
        raise SealError(_CHANGED) from exc
