"""FrostService: one vault, behind the public names."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from icehouse import arguments
from icehouse.device.device import Device
from icehouse.errors import ConflictError, HsmUnavailableError, RequestError, SealError
from icehouse.hsm.configuration import fallback_uri, hsm_uri
from icehouse.messages.exchange import exchange
from icehouse.model import (
    DEFAULT_SUITE,
    MAX_MESSAGE_BYTES,
    NO_DATA_KEY,
    REMOVED,
    SERVER,
    SOFTWARE,
    THRESHOLD,
    BulkResult,
    FrostShards,
    Key,
    State,
    check_user,
    is_software,
)
from icehouse.store import VaultStore
from icehouse.store.counts import miscounts
from icehouse.store.marking import overdue_since
from icehouse.upkeep.recover import Listed
from icehouse.upkeep.upkeep import Upkeep
from icehouse.users import create, create_many, destroy, enrolment_code, mark_due, suspend, verify
from icehouse.users.own_keys import own_keys
from icehouse.vault import settings as vault_settings
from icehouse.vault.fallback import check_stand_in
from icehouse.vault.opening import (
    check_buckets,
    check_custody,
    check_durable,
    create_vault,
    open_roots,
    open_vault,
    tell_of_id,
)
from icehouse.vault.retry import work_on
from icehouse.vault.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from icehouse.hsm import Hsm
    from icehouse.users.destroy import Removal
    from icehouse.vault.consent import Judged
    from icehouse.vault.vault import Vault


class FrostService:
    """A vault: creates users' keys, mints enrolment codes, answers devices. Safe for threads.

    It is a `Cosigner`: a `Device` in the same process talks to it directly.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._closed = False

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the vault of a directory or a settings file."""
        place = arguments.place(path, "path").absolute()  # to be read anew, wherever this process works by then
        settings = vault_settings.load(place)
        vault = open_vault(settings, again=lambda: vault_settings.load(place))
        tell_of_id(place, settings, vault)
        return cls(vault)

    @property
    def vault(self) -> Vault:
        """What all calls work on. Raises `RequestError` once this was closed: it never opens again."""
        if self._closed:
            msg = "this service was closed"
            raise RequestError(msg, hint="open the vault again")
        return self._vault

    @property
    def hsm(self) -> Hsm:
        """The HSM of the vault's main root key; `hsm.operations` counts what it was asked for."""
        return self.vault.custody.hsm

    def close(self) -> None:
        """Close the database and the HSMs, for good: every later call is refused. A second close does nothing."""
        if self._closed:
            return
        self._closed = True
        self._vault.store.close()
        self._vault.custody.roots.close()

    def __enter__(self) -> Self:
        self.vault.custody  # noqa: B018  a service that was closed is refused
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Users

    def create_user_frost_shards(
        self,
        user_id: str,
        threshold: int = THRESHOLD,
        *,
        participants: Sequence[str] | None = None,
        suite: str = DEFAULT_SUITE,
    ) -> FrostShards:
        """Make a user's 2-of-2 key, both shares sealed. The same call again gives the same answer.

        Raises `RequestError` for another shape, `ConflictError` where the user has a key of another suite.
        """
        named = [check_user(user_id), SERVER] if participants is None else participants
        user = create.check_participants(threshold, named)
        if user != user_id:
            msg = f"the first participant must be the user {user_id!r}, not {user!r}"
            raise RequestError(msg)
        return self._view(self._vouched(create.create(self.vault, user, suite)))

    def create_users(self, user_ids: Iterable[str], *, suite: str = DEFAULT_SUITE) -> BulkResult:
        """Make a key for every user who has none; each page of 1,024 is durable before the next begins."""
        users = cast("Iterable[str]", arguments.several(user_ids, "user_ids"))  # each is looked at in its page
        return create_many.create_all(self.vault, users, suite)

    def create_keygen_ceremony(
        self, threshold: int, participants: Sequence[str], *, suite: str = DEFAULT_SUITE
    ) -> FrostShards:
        """Make the key of `[user, "server"]`: the name the original strategy gives to creation."""
        user = create.check_participants(threshold, participants)
        return self._view(self._vouched(create.create(self.vault, user, suite)))

    def create_signing_ceremony(self, message: bytes, participants: Sequence[str]) -> SigningCeremony:
        """A signature on a message by `[user, "server"]`; `run` it with the user's device."""
        user = create.check_participants(THRESHOLD, participants)
        message = arguments.octets(message, "a message to sign")
        if len(message) > MAX_MESSAGE_BYTES:
            msg = f"a message to sign has at most {MAX_MESSAGE_BYTES} bytes, not {len(message)}"
            raise RequestError(msg)
        self.get_shards(user)
        return SigningCeremony(self, message, user)

    def rotate_user_frost_shards(self, user_id: str) -> FrostShards:
        """Mark a rotation due; the device's next contact does it."""
        return self._view(self._vouched(mark_due.mark_due(self.vault, check_user(user_id))))

    def get_shards(self, user_id: str) -> FrostShards:
        """The public facts of a user's key. Raises `SealError` where the database was changed."""
        key = self.vault.store.key_of(check_user(user_id))
        if key is None:
            msg = f"there is no user {user_id!r}"
            raise RequestError(msg, hint="create the user first")
        return self._view(self._vouched(key))

    def users(self) -> Iterator[FrostShards]:
        """Every user's public facts as the database has them, in the order of creation; see `check_user`."""
        return (self._view(key) for key in self.vault.store.every_key())

    def listing(self, since: datetime | None = None) -> Iterator[Listed]:
        """What `recover` needs to know of every user, or of those whose key changed at or after a time."""
        store = self.vault.store
        if since is None:
            found = store.every_key()
        else:
            second = arguments.instance(since, datetime, "since", "a datetime").timestamp()
            found = store.changed_keys(int(second))
        return (Listed.of(key, self._state(key)) for key in found)

    def enrolment_code(self, user_id: str) -> str:
        """A new enrolment token, `<key id>.<code>`, to hand to the user. Earlier ones are void."""
        return enrolment_code.mint(self.vault, check_user(user_id))

    def own_keys(self, user_ids: Sequence[str]) -> Judged:
        """The keys in the HSM that `destroy_user` would destroy for these users, and what each still opens.

        There are some in a direct vault only. Changes nothing.
        """
        found = [self.vault.store.key_of(check_user(user_id)) for user_id in arguments.texts(user_ids, "user_ids")]
        return own_keys(self.vault, [key for key in found if key is not None])

    def destroy_user(self, user_id: str, *, consent: Collection[str] = ()) -> Removal:
        """Remove a user's key at once; the answer says whether it is destroyed, or what that waits for.

        `consent`: the labels of the user's own keys in the HSM, as `own_keys` tells them. Raises `RequestError` where
        one is missing; then nothing was done.
        """
        return destroy.destroy(self.vault, check_user(user_id), arguments.texts(consent, "consent"))

    def suspend_user(self, user_id: str) -> FrostShards:
        """Let a user's key refuse every call until it is resumed. A standing offer is cancelled."""
        suspend.suspend(self.vault, check_user(user_id))
        return self.get_shards(user_id)

    def resume_user(self, user_id: str) -> FrostShards:
        """Let a suspended key serve again."""
        suspend.resume(self.vault, check_user(user_id))
        return self.get_shards(user_id)

    def overdue(self, grace: int | None = None) -> Iterator[tuple[str, int, str]]:
        """Users whose rotation has been due for more days than the policy allows: the user, since when, the state.

        The day is counted from 1970, and nothing vouches for it: the mark decides nothing about a share.
        """
        days = self.vault.rotation.grace if grace is None else arguments.number(grace, "grace")
        return overdue_since(self.vault.store.database, self.vault.today - days)

    @property
    def upkeep(self) -> Upkeep:
        """Rewrap, reseal, trim, convert."""
        return Upkeep(self.vault)

    def exchange(self, message: str | bytes) -> str:
        """Answer one message of a device, as text or as the bytes that came. Never raises for what the message says."""
        return exchange(self.vault, message)

    def check_user(self, user_id: str) -> FrostShards:
        """Open every record of a user's key; raises `SealError` that names what does not fit."""
        key = self.vault.store.key_of(check_user(user_id))
        if key is None:
            msg = f"there is no user {user_id!r}"
            raise RequestError(msg)
        verify.check(self.vault, key)
        return self._view(key)

    def check(self) -> int:
        """Open every record of every key; the number of keys. Raises at the first that does not fit."""
        count = 0
        for examined in verify.examine(self.vault, self.vault.store.readings()):
            if isinstance(examined, Exception):
                raise examined
            count += 1
        return count

    def examine(self) -> Iterator[FrostShards | SealError | HsmUnavailableError]:
        """Open every record of every key; for each its public facts, or what does not fit, or that the HSM is away."""
        found = verify.examine(self.vault, self.vault.store.readings())
        return (self._view(examined) if isinstance(examined, Key) else examined for examined in found)

    def examine_data_keys(self) -> Iterator[SealError]:
        """What does not fit in the counts of data keys."""
        return (
            SealError(f"data key {number} counts {used} records ever and {live} now; {found} are found")
            for number, used, live, found in miscounts(self.vault.store)
        )

    def _vouched(self, key: Key) -> Key:
        """The key, once its sealed record has shown that nobody changed its row: callers trust its public key."""
        if key.state is not State.DESTROYED:
            work_on(self.vault, key, self._open_share)
        return key

    def _open_share(self, key: Key) -> None:
        self.vault.custody.open_share(key)

    def _view(self, key: Key) -> FrostShards:
        group = key.group
        return FrostShards(
            user_id=key.user,
            key_id=group.key_id,
            suite=key.suite,
            generation=key.generation,
            threshold=THRESHOLD,
            participants=(key.user, SERVER),
            public_key=group.public_key,
            epoch=key.epoch,
            state=self._state(key),
            origin=key.origin,
            custody=self.vault.custody.name,
            provider=self._provider(key),
            hsm_attested=key.attested,
            due=key.due_day,
            changed=key.changed_at,
        )

    def _state(self, key: Key) -> str:
        """What callers see of a key's state: a tombstone is not `destroyed` while a backup of it may still open."""
        if key.state is State.DESTROYED and not destroy.status(self.vault, key).destroyed:
            return REMOVED
        return str(key.state)

    def _provider(self, key: Key) -> str:
        """Who has the root key that the user's record is under: not the HSM, while that is still to be promoted to."""
        roots = self.vault.custody.roots
        if key.origin == SOFTWARE and key.sealed.data_key != NO_DATA_KEY and roots.software is not None:
            root = self.vault.store.wrapped_key(key.sealed.data_key).root_key
            return (roots.software if is_software(root) else self.hsm).info.provider
        return self.hsm.info.provider


class SigningCeremony:
    """A signature about to be made."""

    def __init__(self, service: FrostService, message: bytes, user: str) -> None:
        self._service = service
        self._message = message
        self._user = user

    def run(self, device: Device, *, taproot_root: str | None = None) -> bytes:
        """Sign with the user's device; the signature verified under the public key."""
        arguments.instance(device, Device, "device", "a Device")
        if device.user != self._user:
            msg = f"this ceremony is {self._user!r}'s, the device is {device.user!r}'s"
            raise RequestError(msg)
        return device.sign(self._service, self._message, taproot_root=taproot_root)


class HybridFrostService(FrostService):
    """A `FrostService` with hybrid custody: random shares under a few root keys."""


class HierarchicalFrostService(FrostService):
    """A `FrostService` with hierarchical custody: every share is derived from one master key in the HSM."""


class DirectFrostService(FrostService):
    """A `FrostService` with direct custody: one HSM key per user, as many as the HSM holds."""


SERVICES = {"hybrid": HybridFrostService, "hierarchical": HierarchicalFrostService, "direct": DirectFrostService}


def create_hsm_frost(
    hsm_provider: str,
    config: Mapping[str, Any] | None = None,
    *,
    custody: str = "hybrid",
    store: str | None = None,
    buckets: int = 0,
    fallback_to_software: bool = False,
) -> FrostService:
    """Open the vault of a store, or make it where the store holds none.

    `hsm_provider` is "simulated", "pkcs11", "google", "aws" (a CloudHSM cluster), "aws-kms" or "openbao". `config`
    names the module, ring, cluster or server, and files of secrets by their paths, as docs/reference/hsm.md says;
    nothing is a simulated HSM in memory. `custody` is "hybrid", "hierarchical", "direct", or the
    `module:Class` of one of your own; `buckets`, for a hierarchical vault, is how many nodes its users share (0: a node
    and an HSM operation for each). `store` is a SQLAlchemy URL; without one an in-memory SQLite serves.

    With `fallback_to_software`, while the HSM cannot be opened, new keys are made in a simulated module and say so for
    ever; a `FallbackWarning` tells. With a durable store `config` names its file too: `fallback_path` and
    `fallback_pin_source`. For "simulated" it means nothing: there is nothing to fall back from.

    Raises `RequestError`, `HsmError`, `StoreError`, `SealError`.
    """
    check_custody(custody)
    if store is not None:
        arguments.text(store, "store")
    own = {} if config is None else dict(arguments.mapping(config, "config"))
    arguments.texts(own, "the names in config")
    fallback = ""
    if arguments.flag(fallback_to_software, "fallback_to_software"):
        own, fallback = fallback_uri(hsm_provider, own)
    settings = Settings(store_url=store or "sqlite://", hsm_uri=hsm_uri(hsm_provider, own), fallback_uri=fallback)
    check_durable(settings)
    check_stand_in(settings, custody)
    check_buckets(custody, buckets)
    return SERVICES.get(custody, FrostService)(_open_or_create(settings, custody, buckets))


def _open_or_create(settings: Settings, custody: str, buckets: int) -> Vault:
    existing = None if settings.store_url == "sqlite://" else VaultStore.open(settings.store_url)
    if existing is not None:
        existing.close()
        return _of_custody(open_vault(settings), custody)
    roots = open_roots(settings)
    try:
        return create_vault(settings, custody, roots, buckets=buckets)
    except ConflictError:
        return _of_custody(open_vault(settings, roots), custody)  # another process made it meanwhile


def _of_custody(vault: Vault, custody: str) -> Vault:
    """The vault, or `ConflictError` where it was made with another custody than the caller asks for."""
    if vault.custody.name != custody:
        msg = f"the vault's custody is {vault.custody.name}, not {custody}"
        raise ConflictError(msg)
    return vault
