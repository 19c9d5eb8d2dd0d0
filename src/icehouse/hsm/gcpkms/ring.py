"""Keys in a key ring of Google Cloud KMS: one crypto key for each label (ADR 0020), looked at before it is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError
from icehouse.hsm.gcpkms.states import (
    STRANGE,
    Algorithm,
    Level,
    Purpose,
    State,
    has_key,
    hint_for,
    named,
    not_enabled,
    number,
    number_of,
)
from icehouse.hsm.gcpkms.wire import RIGHTS, NotThereError
from icehouse.hsm.key_service.deadline import Deadline
from icehouse.hsm.listing import GoneError
from icehouse.hsm.protocol import HsmKey, KeyKind, is_label

# After the wire, which knows what to say when Google's client is not installed.
from google.cloud.kms_v1 import types  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icehouse.hsm.gcpkms.uri import GcpKmsUri
    from icehouse.hsm.gcpkms.wire import Wire

HSM = Level.HSM
PAUSE = 0.2


@dataclass(frozen=True, slots=True)
class Shape:
    """How Google calls what a kind of key is."""

    purpose: Any
    algorithm: Any


SHAPES = {
    KeyKind.AES: Shape(Purpose.ENCRYPT_DECRYPT, Algorithm.GOOGLE_SYMMETRIC_ENCRYPTION),
    KeyKind.HMAC: Shape(Purpose.MAC, Algorithm.HMAC_SHA512),
    KeyKind.ECDSA: Shape(Purpose.ASYMMETRIC_SIGN, Algorithm.EC_SIGN_P256_SHA256),
}
_KINDS = {int(shape.purpose): kind for kind, shape in SHAPES.items()}


class Ring:
    """The keys of one ring, for the length of one operation.

    Without a deadline for all of it, each call has one of its own.
    """

    __slots__ = ("_deadline", "_path", "_uri", "wire")

    def __init__(self, wire: Wire, uri: GcpKmsUri, path: str, deadline: Deadline | None) -> None:
        self.wire = wire
        self._uri = uri
        self._path = path
        self._deadline = deadline

    def find(self, label: str) -> HsmKey | None:
        """The key of this label: one that is disabled, too, or whose older version still decrypts.

        Raises `GoneError` where a version of it can be restored.
        """
        try:
            crypto_key = self.crypto_key(label)
        except NotThereError:
            return None
        kind = kind_of(crypto_key)
        if kind and not self.lives(crypto_key):
            if isinstance(why := self._gone(label), GoneError):
                raise why
            return None
        return HsmKey(label, kind) if kind else None

    def usable(self, key: HsmKey) -> str:
        """The resource name of the version that serves; refused unless everything about it is as icehouse made it."""
        return self._enabled(key, lambda crypto_key: self._serving(crypto_key, key.label))

    def opening(self, key: HsmKey) -> str:
        """The resource name of a version that decrypts; the service finds the right one by itself."""

        def look(crypto_key: Any) -> Any:  # noqa: ANN401
            if number(crypto_key.primary, "state") == State.ENABLED:
                return crypto_key.primary
            versions = self.versions(key.label)
            return next((one for one in versions if number(one, "state") == State.ENABLED), crypto_key.primary)

        return self._enabled(key, look)

    def _enabled(self, key: HsmKey, look: Any) -> str:  # noqa: ANN401
        deadline = self.time()
        while True:
            version = look(self.of_kind(key))
            if number(version, "state") == State.ENABLED:
                check(version, SHAPES[key.kind], key.label)
                return str(version.name)
            why = not_enabled(version, key.label) if version.name else _without_primary(key.label)
            if not isinstance(why, HsmUnavailableError) or not deadline.pause(PAUSE):
                raise why

    def why_shut(self, label: str, refusal: HsmError) -> HsmError:
        """Why what an AES key wrapped does not open: the version that wrapped it is not enabled."""
        versions = [one for one in self.versions(label) if number(one, "state") != State.ENABLED]
        # The service names the version in its words only; without that, the first that could be brought back.
        named_first = sorted(
            versions,
            key=lambda one: (f"/{number_of(one.name)} " not in f"{refusal} ", number(one, "state") == State.DESTROYED),
        )
        if not named_first:
            return HsmUnavailableError(f"a version was not enabled a moment ago, and now all are: {refusal}")
        which, state = number_of(named_first[0].name), named(State, number(named_first[0], "state"))
        told = f"what version {which} of the key labelled {label!r} wrapped does not open: it is {state}, not ENABLED"
        return not_enabled(named_first[0], label, told)

    def of_kind(self, key: HsmKey) -> Any:  # noqa: ANN401
        """The crypto key of a label, which has a key in it and is of this kind."""
        try:
            crypto_key = self.crypto_key(key.label)
        except NotThereError:
            raise _missing(key.label) from None
        found, purpose = kind_of(crypto_key), number(crypto_key, "purpose")
        if found is None:
            msg = f"the key labelled {key.label!r} must not be trusted: its purpose is {named(Purpose, purpose)}"
            raise HsmRefusedError(msg, hint=hint_for(Purpose, purpose))
        if not self.lives(crypto_key):
            raise self._gone(key.label)
        if found is not key.kind:
            msg = f"the key labelled {key.label!r} is of kind {found}; this operation needs kind {key.kind}"
            raise HsmRefusedError(msg)
        return crypto_key

    def _serving(self, crypto_key: Any, label: str) -> Any:  # noqa: ANN401
        """The primary of an AES key, which the service itself may have rotated; of others the only version alive."""
        if number(crypto_key, "purpose") == Purpose.ENCRYPT_DECRYPT:
            return crypto_key.primary
        live = self.live(label)
        if len(live) != 1:
            msg = f"{len(live)} versions of the key labelled {label!r} are alive; exactly one must be"
            raise HsmRefusedError(msg, hint="disable does not help: destroy those that icehouse did not make")
        return live[0]

    def lives(self, crypto_key: Any) -> bool:  # noqa: ANN401
        """Whether there is a key in it that serves, or serves again once it is enabled."""
        if number(crypto_key, "purpose") != Purpose.ENCRYPT_DECRYPT:
            return bool(self.live(label_of(crypto_key)))
        if has_key(crypto_key.primary):
            return True
        # Nothing was ever wrapped under another version than a primary, and versions are numbered from 1. So only of a
        # key that was rotated may an older one still decrypt; whether it does takes a further call.
        return number_of(crypto_key.primary.name) != "1" and bool(self.live(label_of(crypto_key)))

    def _gone(self, label: str) -> HsmError:
        """Why a label has no key any more, and until when it can have it again."""
        versions = sorted(self.versions(label), key=lambda one: number(one, "state") != State.DESTROY_SCHEDULED)
        if not versions or number(versions[0], "state") == State.DESTROYED:
            return _missing(label)
        state = named(State, number(versions[0], "state"))
        told = f"there is no key labelled {label!r} any more: version {number_of(versions[0].name)} is {state}"
        return not_enabled(versions[0], label, told)

    def crypto_key(self, label: str) -> Any:  # noqa: ANN401
        """The crypto key of this name. Raises `NotThereError`."""
        request = types.GetCryptoKeyRequest(name=f"{self._path}/cryptoKeys/{label}")
        found = self.wire.call("get_crypto_key", request, self.time())
        if found.name != request.name:
            msg = f"asked for {request.name}, Google Cloud KMS answered about {found.name}"
            raise HsmRefusedError(msg)
        return found

    def versions(self, label: str) -> list[Any]:
        """Every version there ever was of a crypto key."""
        request = types.ListCryptoKeyVersionsRequest(parent=f"{self._path}/cryptoKeys/{label}", page_size=1000)
        pages = self._pages("list_crypto_key_versions", request, "crypto_key_versions")
        found = [version for page in pages for version in page]
        for version in found:
            if version.name.rpartition("/cryptoKeyVersions/")[0] != request.parent:
                msg = f"asked for the versions of {request.parent}, Google Cloud KMS answered about {version.name}"
                raise HsmRefusedError(msg)
        return found

    def live(self, label: str) -> list[Any]:
        """The versions that have a key now, or will have."""
        return [version for version in self.versions(label) if has_key(version)]

    def crypto_keys(self) -> Iterator[list[Any]]:
        """The crypto keys of the ring, page by page."""
        request = types.ListCryptoKeysRequest(parent=self._path, page_size=1000)
        return self._pages("list_crypto_keys", request, "crypto_keys")

    def _pages(self, method: str, request: Any, field: str) -> Iterator[list[Any]]:  # noqa: ANN401
        while True:
            page = self.wire.call(method, request, self.time())
            yield list(getattr(page, field))
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def time(self) -> Deadline:
        """The time of the next step."""
        return self._deadline or Deadline(self._uri.deadline)

    @property
    def path(self) -> str:
        """The ring's name."""
        return self._path


def kind_of(crypto_key: Any) -> KeyKind | None:  # noqa: ANN401
    """The kind of a crypto key; `None` where icehouse makes no such keys."""
    return _KINDS.get(number(crypto_key, "purpose"))


def label_of(crypto_key: Any) -> str:  # noqa: ANN401
    """The last part of a crypto key's name."""
    return str(crypto_key.name.rpartition("/")[2])


def is_ours(crypto_key: Any, prefix: str) -> bool:  # noqa: ANN401
    """Whether a crypto key could be icehouse's, and its label starts so."""
    label = label_of(crypto_key)
    return label.startswith(prefix) and is_label(label) and kind_of(crypto_key) is not None


def check_answer(name: str | None, version: str, answer: Any) -> None:  # noqa: ANN401
    """Refuse an answer that another key version gave, or one outside an HSM."""
    if name is not None and name != version:
        msg = f"{version} was asked, and {name} answered; the answer is not used"
        raise HsmRefusedError(msg, hint="is the endpoint Google's own?")
    level = number(answer, "protection_level")
    if level != HSM:
        msg = f"the answer of {version} has the protection level {named(Level, level)}, not HSM; it is not used"
        raise HsmRefusedError(msg, hint=hint_for(Level, level))


def check(version: Any, shape: Shape, label: str) -> None:  # noqa: ANN401
    """Refuse a version that is not as icehouse makes them."""
    check_made(version, shape, label)
    if version.import_job:
        msg = f"the key labelled {label!r} must not be trusted: it was imported, so it was once outside the HSM"
        raise HsmRefusedError(msg, hint=STRANGE)


def check_made(made: Any, shape: Shape, label: str) -> None:  # noqa: ANN401
    """Refuse a version, or a template, of another protection level or algorithm."""
    level, algorithm = number(made, "protection_level"), number(made, "algorithm")
    if level != HSM:
        msg = f"the key labelled {label!r} must not be trusted: its protection level is {named(Level, level)}"
        hint = f"it must be HSM: {STRANGE} ({RIGHTS['create_crypto_key'][1]})"
        raise HsmRefusedError(msg, hint=hint_for(Level, level, hint))
    if algorithm != shape.algorithm:
        msg = (
            f"the key labelled {label!r} must not be trusted: its algorithm is {named(Algorithm, algorithm)}, "
            f"not {shape.algorithm.name}"
        )
        raise HsmRefusedError(msg, hint=hint_for(Algorithm, algorithm))


def _without_primary(label: str) -> HsmRefusedError:
    msg = f"the key labelled {label!r} has no primary version, so nothing is wrapped under it"
    return HsmRefusedError(msg, hint="'gcloud kms keys set-primary-version' names one")


def _missing(label: str) -> HsmRefusedError:
    return HsmRefusedError(f"the key ring has no key labelled {label!r}", hint="is this the vault's own key ring?")
