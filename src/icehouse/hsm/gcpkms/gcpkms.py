"""`gcpkms://` — Google Cloud KMS, keys at protection level HSM."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeVar

from icehouse._core import data_key_from_bytes, data_key_to_bytes, node_from_bytes
from icehouse.errors import HsmRefusedError, RequestError, SealError
from icehouse.hsm.gcpkms import answers
from icehouse.hsm.gcpkms.crc32c import crc32c
from icehouse.hsm.gcpkms.listing import keys_of, leftovers
from icehouse.hsm.gcpkms.making import create, destroy
from icehouse.hsm.gcpkms.ring import Ring, check_answer
from icehouse.hsm.gcpkms.uri import GcpKmsUri
from icehouse.hsm.gcpkms.wire import ADMIN, RIGHTS, DeniedError, InvalidError, NotThereError, NotUsableError, Wire
from icehouse.hsm.key_service.deadline import Deadline
from icehouse.hsm.key_service.p256 import raw_signature
from icehouse.hsm.key_service.per_process import PerProcess
from icehouse.hsm.protocol import (
    Destruction,
    HsmInfo,
    HsmKey,
    KeyKind,
    Operation,
    OperationCounts,
    Right,
    check_context,
    check_digest,
)

# After the wire, which knows what to say when Google's client is not installed.
from google.cloud.kms_v1 import types  # isort: skip
from google.iam.v1.iam_policy_pb2 import TestIamPermissionsRequest  # type: ignore[import-untyped]  # isort: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from icehouse._core import DataKey, Node
    from icehouse.hsm.listing import Leftover

T = TypeVar("T")
_FORMAT = b"\x01"
_MAX_WRAPPED = 1024
"""Far more than a ciphertext of 32 bytes has, far less than the service would take."""
_MAX_WRAP_BYTES = 8192
_DEFAULT_QUOTA = 500.0
_LOOK_AGAIN = 300.0
"""Seconds after which a key is looked at anew; a version the service made primary meanwhile serves from then on."""
_DATA_KEY_BYTES = 32
_FOR_MAKING = {ADMIN: ": for init, rewrap and trim, and for all of a direct vault"}


class _Begun(NamedTuple):
    """One operation under way."""

    ring: Ring
    wire: Wire
    deadline: Deadline


class GcpKmsHsm:
    """An `Hsm` on a key ring of Google Cloud KMS.

    Every operation has a deadline; within it, calls that fail in passing are repeated. Every answer is checked for
    its checksum, the version that gave it and its protection level, before it is used.

    Least roles, on the key ring: to serve, `roles/cloudkms.viewer`, `roles/cloudkms.cryptoKeyEncrypterDecrypter` and,
    for a hierarchical vault or the audit key, `roles/cloudkms.signer` and `roles/cloudkms.publicKeyViewer`. To make
    and destroy root keys (`init`, `rewrap`, `trim`, and all of a direct vault) also `roles/cloudkms.admin`, or a role
    of your own with `cloudkms.cryptoKeys.create`, `cloudkms.cryptoKeys.update`, `cloudkms.cryptoKeyVersions.create`
    and `cloudkms.cryptoKeyVersions.destroy`; where an organisation policy wants versions disabled before they are
    destroyed, `cloudkms.cryptoKeyVersions.update`, too.
    """

    __slots__ = ("_client", "_known", "_opens", "_path", "_seen", "_uri", "info", "operations")

    def __init__(self, uri: GcpKmsUri) -> None:
        self._uri = uri
        wire = Wire(uri)
        try:
            # A project's number in the URI is the same project: from here on it goes by the name that answers have.
            self._path = _ring_name(wire, uri)
        except NotThereError as exc:
            wire.close()
            msg = f"there is no key ring {uri.path}"
            hint = f"gcloud kms keyrings create {uri.ring} --location {uri.location} --project {uri.project}"
            raise HsmRefusedError(msg, hint=hint) from exc
        except BaseException:
            wire.close()
            raise
        self._client = PerProcess(wire)
        self._known: dict[HsmKey, tuple[str, float]] = {}
        self._opens: dict[HsmKey, tuple[str, float]] = {}
        """A version that decrypts: where the primary does not, the key may have older ones that do."""
        self._seen: dict[str, bool] = {}
        self.operations = OperationCounts()
        self.info = HsmInfo(
            provider="gcpkms",
            model=f"Google Cloud HSM in {uri.location}" if uri.vouched else f"unknown, at {uri.endpoint}",
            # A key or an answer that is not at protection level HSM is refused; that word is worth what its speaker is.
            attested=uri.vouched,
            capabilities=frozenset(KeyKind),
            max_wrap_bytes=_MAX_WRAP_BYTES,
            rate_limit=_DEFAULT_QUOTA,
        )

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> GcpKmsHsm:
        """Open `gcpkms://projects/P/locations/L/keyRings/R`."""
        parsed = GcpKmsUri.parse(uri)
        if create:
            msg = "a key ring is made with Google's tools, not by icehouse"
            hint = f"gcloud kms keyrings create {parsed.ring} --location {parsed.location} --project {parsed.project}"
            raise RequestError(msg, hint=hint)
        return cls(parsed)

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a crypto key of this name in the HSM; one that exists is refused."""
        key = HsmKey(label, KeyKind(kind))
        version = create(self._begun(Operation.CREATE_KEY).ring, key)
        self._known[key] = version, time.monotonic() + _LOOK_AGAIN
        self._opens.pop(key, None)
        return key

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Schedule the destruction of every version; until then whoever may restore keys can undo it."""
        until = destroy(self._begun(Operation.DESTROY_KEY).ring, key)
        self._known.pop(key, None)
        self._opens.pop(key, None)
        return Destruction(done=False, recoverable_until=until)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label; other software's keys are passed over."""
        # As many calls as there are pages, and more: each has a deadline of its own.
        return keys_of(self._ring(self._begun(Operation.KEYS).wire), self._seen, prefix)

    def find(self, label: str) -> HsmKey | None:
        """The key of exactly this label, however many others there are."""
        return self._begun(Operation.KEYS).ring.find(label)

    def leftovers(self) -> Iterator[Leftover]:
        """Versions that icehouse made and that nothing names."""
        return leftovers(self._ring(self._begun(None).wire))

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""
        check_context(context)
        plaintext = data_key_to_bytes(secret)

        def encrypt(begun: _Begun, version: str) -> bytes:
            request = types.EncryptRequest(
                name=version,
                plaintext=plaintext,
                plaintext_crc32c=crc32c(plaintext),
                additional_authenticated_data=context,
                additional_authenticated_data_crc32c=crc32c(context),
            )
            answer = begun.wire.call("encrypt", request, begun.deadline, check=answers.encrypted)
            check_answer(answer.name, version, answer)
            return _FORMAT + bytes(answer.ciphertext)

        return self._use(HsmKey(key.label, KeyKind.AES), self._begun(Operation.WRAP), encrypt)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        check_context(context)
        begun = self._begun(Operation.UNWRAP)

        def decrypt(begun: _Begun, version: str) -> DataKey:
            if not wrapped.startswith(_FORMAT) or not 1 < len(wrapped) <= _MAX_WRAPPED:
                raise _shut(key.label)
            ciphertext = wrapped[1:]
            request = types.DecryptRequest(
                name=version.partition("/cryptoKeyVersions/")[0],
                ciphertext=ciphertext,
                ciphertext_crc32c=crc32c(ciphertext),
                additional_authenticated_data=context,
                additional_authenticated_data_crc32c=crc32c(context),
            )
            answer = begun.wire.call("decrypt", request, begun.deadline, check=answers.decrypted)
            # The service finds the version in the ciphertext, and does not name it.
            check_answer(None, version, answer)
            if len(answer.plaintext) != _DATA_KEY_BYTES:
                raise _shut(key.label)
            return data_key_from_bytes(answer.plaintext)

        try:
            return self._use(HsmKey(key.label, KeyKind.AES), begun, decrypt, opening=True)
        except InvalidError as exc:
            raise _shut(key.label) from exc
        except NotUsableError as exc:
            # The version that wrapped it does not serve, though the key has one that does.
            raise begun.ring.why_shut(key.label, exc) from exc

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message: 64 secret bytes."""

        def mac_sign(begun: _Begun, version: str) -> Node:
            request = types.MacSignRequest(name=version, data=message, data_crc32c=crc32c(message))
            answer = begun.wire.call("mac_sign", request, begun.deadline, check=answers.maced)
            check_answer(answer.name, version, answer)
            return node_from_bytes(answer.mac)

        return self._use(HsmKey(key.label, KeyKind.HMAC), self._begun(Operation.MAC), mac_sign)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""
        check_digest(digest)

        def asymmetric_sign(begun: _Begun, version: str) -> bytes:
            request = types.AsymmetricSignRequest(
                name=version, digest=types.Digest(sha256=digest), digest_crc32c=crc32c(digest)
            )
            answer = begun.wire.call("asymmetric_sign", request, begun.deadline, check=answers.signed)
            check_answer(answer.name, version, answer)
            return raw_signature(answer.signature)

        return self._use(HsmKey(key.label, KeyKind.ECDSA), self._begun(Operation.SIGN), asymmetric_sign)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""

        def get_public_key(begun: _Begun, version: str) -> bytes:
            request = types.GetPublicKeyRequest(name=version)
            answer = begun.wire.call("get_public_key", request, begun.deadline, check=answers.published)
            check_answer(answer.name, version, answer)
            return answers.point_of(answer.pem)

        return self._use(HsmKey(key.label, KeyKind.ECDSA), self._begun(None), get_public_key)

    def rights(self) -> list[Right]:
        """Every permission that icehouse needs on the key ring, as the service says that these credentials have it."""
        begun, asked = self._begun(None), dict(RIGHTS.values())
        request = TestIamPermissionsRequest(resource=self._path, permissions=list(asked))
        try:
            granted = set(begun.wire.call("test_iam_permissions", request, begun.deadline).permissions)
        except (InvalidError, DeniedError):
            # The service does not know a permission, or does not tell this principal.
            return [Right(permission, None, f"grant {role} on {self._uri.path}") for permission, role in asked.items()]
        return [
            Right(permission, permission in granted, f"grant {role} on {self._uri.path}{_FOR_MAKING.get(role, '')}")
            for permission, role in asked.items()
        ]

    def close(self) -> None:
        """Close the channel of this process."""
        self._client.close()

    def __reduce__(self) -> NoReturn:
        """Refuse: a connection belongs to its process."""
        msg = "GcpKmsHsm cannot be pickled: open it anew by its URI"
        raise TypeError(msg)

    def _begun(self, operation: Operation | None) -> _Begun:
        wire, deadline = self._wire(), Deadline(self._uri.deadline)
        if operation is not None:
            self.operations.add(operation)
        return _Begun(self._ring(wire, deadline), wire, deadline)

    def _ring(self, wire: Wire, deadline: Deadline | None = None) -> Ring:
        return Ring(wire, self._uri, self._path, deadline)

    def _use(self, key: HsmKey, begun: _Begun, work: Callable[[_Begun, str], T], *, opening: bool = False) -> T:
        """Use a key's version; one that was known from earlier and does not serve any more is looked up again."""
        remembered = self._opens if opening else self._known
        known, until = remembered.get(key, ("", 0.0))
        if known and time.monotonic() < until:
            try:
                return work(begun, known)
            except (NotThereError, NotUsableError):
                remembered.pop(key, None)
        version = begun.ring.opening(key) if opening else begun.ring.usable(key)
        remembered[key] = version, time.monotonic() + _LOOK_AGAIN
        return work(begun, version)

    def _wire(self) -> Wire:
        return self._client.get(lambda: Wire(self._uri))


def _ring_name(wire: Wire, uri: GcpKmsUri) -> str:
    told = wire.call("get_key_ring", types.GetKeyRingRequest(name=uri.path), Deadline(uri.deadline))
    path = uri.same_ring(told.name)
    if path is None:
        msg = f"asked for {uri.path}, Google Cloud KMS answered about {told.name}"
        raise HsmRefusedError(msg, hint="is the endpoint Google's own?")
    return path


def _shut(label: str) -> SealError:
    return SealError(f"the wrapped key does not open under {label!r} in this context")
