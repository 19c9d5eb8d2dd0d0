"""Making and opening a vault: root keys in the HSM, settings that the HSM vouches for."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from icehouse import arguments
from icehouse.custody import (
    Means,
    Opened,
    RootKeys,
    Verb,
    check_allowed,
    check_settings,
    custody_class,
    is_ours,
    seal_settings,
)
from icehouse.errors import ConflictError, HsmUnavailableError, IcehouseError, RequestError, StoreError
from icehouse.hsm import HsmKey, KeyKind, labelled, open_hsm
from icehouse.model import STAND_INS, Role, RootKey, RootState, VaultRecord, is_software, root_label
from icehouse.store import VaultStore
from icehouse.vault.fallback import check_fallback, check_stand_in, open_stand_in, reach, warn_of, warn_of_no_roots
from icehouse.vault.kind import custody_of_record
from icehouse.vault.limit import Limit
from icehouse.vault.rotation_policy import Rotation
from icehouse.vault.settings import FILE_NAME
from icehouse.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from icehouse.custody import Custody
    from icehouse.hsm import Hsm
    from icehouse.vault.settings import Settings

KIND_OF = {role: KeyKind.HMAC if role is Role.MASTER else KeyKind.AES for role in Role}
USERS_PER_BUCKET = 1000
_VAULT_ID_BYTES = 16
_MAX_BUCKETS = 1 << 32
_logger = logging.getLogger("icehouse")
_told: set[Path] = set()
"""The places of whose missing vault id this process was told."""


def check_custody(custody: str) -> str:
    """Return the custody's name, or raise `RequestError`."""
    return custody_class(custody).name


def check_buckets(custody: str, buckets: int) -> int:
    """Return how many nodes a vault's users share, or raise `RequestError`."""
    if not 0 <= arguments.number(buckets, "buckets") < _MAX_BUCKETS:
        msg = f"buckets must be between 0 and {_MAX_BUCKETS - 1}, not {buckets}"
        raise RequestError(msg)
    if buckets:
        check_allowed(custody_class(custody), Verb.SHARE_NODES)
    return buckets


def buckets_for(expected_users: int) -> int:
    """How many nodes serve this many users: about one for every thousand."""
    if expected_users < 0:
        msg = f"the number of users expected must not be negative, as {expected_users} is"
        raise RequestError(msg)
    return -(-expected_users // USERS_PER_BUCKET)


def check_durable(settings: Settings) -> None:
    """Refuse a vault that would outlive its root keys."""
    store = settings.store_url.partition("?")[0]
    outlives = store not in {"sqlite://", "sqlite:///:memory:"}
    for uri in {settings.hsm_uri, settings.claim_uri}:
        if outlives and uri.partition("?")[0] == "simulated:":
            msg = "an in-memory simulated HSM forgets its keys with the process; this vault would outlive them"
            raise RequestError(msg, hint="use simulated:PATH?pin-source=file:PINFILE, or a real HSM")
    if settings.fallback_uri:
        check_fallback(settings, outlives=outlives)


def new_vault_id() -> bytes:
    """The 16 random bytes that name a vault."""
    return os.urandom(_VAULT_ID_BYTES)


def create_vault(
    settings: Settings,
    custody: str,
    roots: RootKeys | None = None,
    *,
    vault_id: bytes | None = None,
    buckets: int = 0,
) -> Vault:
    """Make root keys and an empty database; raises `ConflictError` where there is a vault already.

    With a `vault_id` that was drawn before, root keys that an interrupted creation made for it are taken as they are.
    """
    check_buckets(check_custody(custody), buckets)
    check_durable(settings)
    check_stand_in(settings, custody)
    existing = VaultStore.open(settings.store_url)
    if existing is not None:
        existing.close()
        msg = "the database holds a vault already"
        raise ConflictError(msg)
    roots = roots or open_roots(settings)
    if vault_id is not None:
        record = make_roots(vault_id, custody, buckets, roots, resumed=True)
        return _vault(settings, VaultStore.create(settings.store_url, record, settings.store_connections), roots)
    with _unmaking(fresh := new_vault_id(), custody, roots):
        record = make_roots(fresh, custody, buckets, roots, resumed=False)
        store = VaultStore.create(settings.store_url, record, settings.store_connections)
    return _vault(settings, store, roots)


def new_roles(custody: str, roots: RootKeys) -> list[Role]:
    """The roles of a new vault's root keys: stand-ins where its HSM is away."""
    return [STAND_INS[role] if roots.absent else role for role in custody_class(custody).roles]


@contextmanager
def _unmaking(vault_id: bytes, custody: str, roots: RootKeys) -> Iterator[None]:
    """Destroy a new vault's root keys where it came to nothing: nobody knows its id, so nobody would find them.

    Not where the database failed: what it was told may be in it all the same.
    """
    try:
        yield
    except StoreError:
        raise
    except IcehouseError:
        for role in new_roles(custody, roots):
            with suppress(IcehouseError):
                roots.home(role).destroy_key(HsmKey(root_label(vault_id, role, 1), KIND_OF[role]))
        raise


def make_roots(vault_id: bytes, custody: str, buckets: int, roots: RootKeys, *, resumed: bool) -> VaultRecord:
    """Make a new vault's root keys in the HSM, and seal its settings."""
    made = []
    for role in new_roles(custody, roots):
        label, hsm = root_label(vault_id, role, 1), roots.home(role)
        if not (resumed and labelled(hsm, label)):
            hsm.create_key(label, KIND_OF[role])
        roots.made(label, hsm)
        made.append(RootKey(label, role, 1, RootState.CURRENT))
    record = VaultRecord(vault_id, custody, buckets, tuple(made), b"")
    return replace(record, seal=seal_settings(record, roots))


def recover_vault(settings: Settings, vault_id: bytes, buckets: int, roots: RootKeys | None = None) -> Vault:
    """A hierarchical vault around the master key that the HSM still has; `recover` writes it, with its users.

    An empty vault of the same settings is gone on with.

    Raises `ConflictError` where the database holds another vault, `HsmRefusedError` where the HSM has no such master.
    """
    check_buckets("hierarchical", buckets)
    check_durable(settings)
    roots = roots or open_roots(settings)
    label = root_label(vault_id, Role.MASTER, 1)
    roots.find(label, KeyKind.HMAC)
    record = VaultRecord(vault_id, "hierarchical", buckets, (RootKey(label, Role.MASTER, 1, RootState.CURRENT),), b"")
    record = replace(record, seal=seal_settings(record, roots))
    store = VaultStore.open(settings.store_url, settings.store_connections)
    if store is None:
        store = VaultStore.prepare(settings.store_url, record, settings.store_connections)
        return _vault(settings, store, roots)
    if store.record != record or store.count():
        store.close()
        msg = "the database holds a vault already"
        raise ConflictError(msg, hint="recover into an empty database")
    return _vault(settings, store, roots)


def open_vault(settings: Settings, roots: RootKeys | None = None, again: Callable[[], Settings] | None = None) -> Vault:
    """Open a vault that was made; its settings must be those its HSM saw.

    `again` reads the configuration anew, for when another process moves the vault to another HSM.
    """
    check_durable(settings)
    store = VaultStore.open(settings.store_url, settings.store_connections)
    if store is None:
        msg = "the database holds no vault"
        raise RequestError(msg, hint="make one with 'icehouse init'")
    try:
        check_vault_id(settings, store.vault_id)
        if is_ours(store.record.custody):
            check_stand_in(settings, store.record.custody)
        opened = roots or open_roots(settings, again, ever=_stood_in(store.record))
        if _stood_in(store.record) and not opened.absent and store.record.current(Role.CLAIM) is None:
            warn_of_no_roots()
        return _vault(settings, store, _complete(store.record, opened))
    except BaseException:
        store.close()
        raise


def check_vault_id(settings: Settings, found: bytes) -> None:
    """Refuse a database that holds another vault than the settings name."""
    if settings.vault_id and settings.vault_id != found.hex():
        msg = f"the database holds the vault {found.hex()}, and the settings are those of the vault {settings.vault_id}"
        raise RequestError(msg, hint="give store.url the database of this vault; vault.id says which vault it is")


def tell_of_id(place: Path, settings: Settings, vault: Vault) -> None:
    """Say, once a process, how to write a vault's id into settings that lack it: nothing is checked without."""
    file = place / FILE_NAME if place.is_dir() else place
    if settings.vault_id or file in _told:
        return
    _told.add(file)
    lines = f'[vault] and id = "{vault.vault_id.hex()}"'
    _logger.warning("%s does not say which vault its database must hold: add the two lines %s", file, lines)


def _stood_in(record: VaultRecord) -> bool:
    """Whether the vault has keys in the module that stands in for its HSM."""
    return any(is_software(root.label) and root.state is not RootState.RETIRED for root in record.roots)


def _complete(record: VaultRecord, roots: RootKeys) -> RootKeys:
    """The HSMs, once every current root key was found in one of them, or in one that is away."""
    for root in record.roots:
        if root.state is not RootState.CURRENT:
            continue
        if is_software(root.label) and roots.software is None:
            _logger.warning("keys of this vault are in software, and no [fallback] names their module: not served")
            continue
        try:
            roots.find(root.label, KIND_OF[root.role])
        except HsmUnavailableError:
            if not roots.absent:
                raise
    return roots


def open_roots(
    settings: Settings,
    again: Callable[[], Settings] | None = None,
    known: dict[str, Hsm] | None = None,
    *,
    ever: bool = False,
) -> RootKeys:
    """Open the HSMs that the settings name, each once; where a fallback stands in for them, it is opened first.

    `ever`: the fallback has keys already, so that its file is never made anew.
    """
    opened = {} if known is None else known
    before = list(opened.values())
    software = open_stand_in(settings, opened, ever=ever) if settings.fallback_uri else None

    def hsm_of(uri: str) -> Hsm:
        if uri not in opened:
            opened[uri] = open_hsm(uri) if software is None else reach(uri, settings.fallback_seconds)
        return opened[uri]

    former = [hsm_of(uri) for uri in (settings.hsm_former_uri, settings.hsm_former_claim_uri) if uri]
    anew = None if again is None else (lambda: open_roots(again(), known=opened, ever=True))
    roots = RootKeys(hsm_of(settings.hsm_uri), hsm_of(settings.claim_uri), former, anew, software)
    if fresh := [hsm for hsm in roots.absent if hsm not in before]:
        warn_of(fresh)
    return roots


def _vault(settings: Settings, store: VaultStore, roots: RootKeys) -> Vault:
    keys: Opened = Opened(settings.cache_keys, settings.cache_seconds)  # type: ignore[type-arg]
    nodes: Opened = Opened(settings.cache_keys, settings.cache_seconds)  # type: ignore[type-arg]

    def reload() -> VaultRecord:
        record = store.reload()
        check_settings(record, roots)
        return record

    def custody_of(record: VaultRecord) -> Custody:
        check_settings(record, roots)
        kind = custody_of_record(settings, record, roots)
        return kind.over(Means(record, roots, store, keys, nodes, reload))

    limit = Limit(settings.limit_per_second, settings.limit_burst)
    rotation = Rotation(
        settings.rotation_every_days,
        settings.rotation_spread_days,
        settings.rotation_grace_days,
        settings.rotation_suspend_days,
    )
    return Vault(store, custody_of, settings.offers_seconds, limit=limit, rotation=rotation)
