"""Making and opening a vault: root keys in the HSM, settings that the HSM vouches for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from icehouse._core import DataKey, context_digest
from icehouse.ceremonies.limit import Limit
from icehouse.ceremonies.vault import Vault
from icehouse.custody import HybridCustody, OpenedKeys
from icehouse.errors import ConflictError, HsmRefusedError, RequestError, SealError
from icehouse.hsm import HsmKey, KeyKind, open_hsm
from icehouse.model import Purpose
from icehouse.store import VaultRecord, VaultStore

if TYPE_CHECKING:
    from icehouse.hsm import Hsm
    from icehouse.settings import Settings

CUSTODIES = ("hybrid",)
_VAULT_ID_BYTES = 16
_PURPOSE_OF = {"kek": Purpose.SERVER, "claim": Purpose.CLAIM}


def check_custody(custody: str) -> str:
    """Return the custody's name, or raise `RequestError`."""
    if custody not in CUSTODIES:
        msg = f"custody must be one of {', '.join(CUSTODIES)}, not {custody!r}"
        raise RequestError(msg)
    return custody


def check_durable(settings: Settings) -> None:
    """Refuse a vault that would outlive its root keys."""
    store = settings.store_url.partition("?")[0]
    outlives = store not in {"sqlite://", "sqlite:///:memory:"}
    for uri in {settings.hsm_uri, settings.claim_uri}:
        if outlives and uri.partition("?")[0] == "simulated:":
            msg = "an in-memory simulated HSM forgets its keys with the process; this vault would outlive them"
            raise RequestError(msg, hint="use simulated:PATH?pin-source=file:PINFILE, or a real HSM")


def new_vault_id() -> bytes:
    """The 16 random bytes that name a vault."""
    return os.urandom(_VAULT_ID_BYTES)


def create_vault(
    settings: Settings, custody: str, hsms: tuple[Hsm, Hsm] | None = None, *, vault_id: bytes | None = None
) -> Vault:
    """Make root keys and an empty database; raises `ConflictError` where there is a vault already.

    With a `vault_id` that was drawn before, root keys that an interrupted creation made for it are taken as they are.
    """
    check_custody(custody)
    check_durable(settings)
    existing = VaultStore.open(settings.store_url)
    if existing is not None:
        existing.close()
        msg = "the database holds a vault already"
        raise ConflictError(msg)
    pair = hsms or open_hsms(settings)
    resumed = vault_id is not None
    vault_id = vault_id or new_vault_id()
    kek, claim = root_labels(vault_id)
    for hsm, label in zip(pair, (kek, claim), strict=True):
        if not (resumed and hsm.keys(label)):
            hsm.create_key(label, KeyKind.AES)
    seal = pair[0].wrap(HsmKey(kek, KeyKind.AES), DataKey.random(), _settings_context(vault_id, custody, kek, claim))
    record = VaultRecord(vault_id, custody, kek, claim, seal)
    return _vault(settings, VaultStore.create(settings.store_url, record), pair)


def root_labels(vault_id: bytes) -> tuple[str, str]:
    """The labels of a new vault's `kek` and `claim`."""
    kek, claim = (f"icehouse-{vault_id.hex()}-{kind}-1" for kind in _PURPOSE_OF)
    return kek, claim


def open_vault(settings: Settings, hsms: tuple[Hsm, Hsm] | None = None) -> Vault:
    """Open a vault that was made; its settings must be those its HSM saw."""
    check_durable(settings)
    store = VaultStore.open(settings.store_url)
    if store is None:
        msg = "the database holds no vault"
        raise RequestError(msg, hint="make one with 'icehouse init'")
    try:
        pair = hsms or open_hsms(settings)
        _check_settings(store.record, pair)
    except BaseException:
        store.close()
        raise
    return _vault(settings, store, pair)


def open_hsms(settings: Settings) -> tuple[Hsm, Hsm]:
    """The HSM of `kek` and that of `claim`, which is the same one unless the settings say otherwise."""
    first = open_hsm(settings.hsm_uri)
    if settings.claim_uri == settings.hsm_uri:
        return first, first
    return first, open_hsm(settings.claim_uri)


def _settings_context(vault_id: bytes, custody: str, kek: str, claim: str) -> bytes:
    return context_digest("settings", [vault_id, custody, kek, claim])


def _check_settings(record: VaultRecord, pair: tuple[Hsm, Hsm]) -> None:
    """Open the seal that was made with the settings; it opens with no others (ADR 0003)."""
    for hsm, label in zip(pair, (record.kek, record.claim), strict=True):
        if not any(key.label == label for key in hsm.keys(label)):
            msg = f"the HSM has no key {label!r}, which this vault's database names as a root key"
            raise HsmRefusedError(msg, hint="is this the HSM that the vault was made with?")
    context = _settings_context(record.vault_id, record.custody, record.kek, record.claim)
    try:
        pair[0].unwrap(HsmKey(record.kek, KeyKind.AES), record.seal, context)
    except SealError as exc:
        msg = "the vault's settings in the database were changed: the HSM did not see these"
        raise SealError(msg) from exc
    check_custody(record.custody)


def _vault(settings: Settings, store: VaultStore, pair: tuple[Hsm, Hsm]) -> Vault:
    labels = {"kek": store.record.kek, "claim": store.record.claim}
    roots = {
        purpose: (hsm, HsmKey(labels[kind], KeyKind.AES))
        for (kind, purpose), hsm in zip(_PURPOSE_OF.items(), pair, strict=True)
    }
    opened = OpenedKeys(settings.cache_keys, settings.cache_seconds)
    custody = HybridCustody(store.vault_id, roots, store, opened)
    limit = Limit(settings.limit_per_second, settings.limit_burst)
    return Vault(store, custody, settings.offers_seconds, limit=limit)
