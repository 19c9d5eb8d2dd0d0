"""`pkcs11:` — any PKCS#11 token, named by an RFC 7512 URI."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icehouse._core import Pkcs11Token
from icehouse.errors import HsmError, RequestError
from icehouse.files.secret_file import check_private
from icehouse.hsm.key_service.per_process import PerProcess
from icehouse.hsm.pkcs11 import cloudhsm
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
    check_label,
    is_label,
    reopening,
)
from icehouse.hsm.uri import count, pairs, pin_file_or_empty, single

if TYPE_CHECKING:
    from icehouse._core import DataKey, Node

_WHICH = frozenset({"token", "serial", "slot-id"})
_PATH = _WHICH | {"manufacturer", "model", "object"}
_QUERY = frozenset({"module-path", "module-init-args", "pin-source", "profile"}) | cloudhsm.ATTRIBUTES
GIVEN_UP = {
    "nss": "that a key was made inside the token (CKA_LOCAL); CKA_NEVER_EXTRACTABLE alone tells one that was brought in"
}
"""What profiles give up that are used only where they are asked for."""
_LOG = logging.getLogger("icehouse.hsm")


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """What an RFC 7512 URI says, as far as icehouse understands it; anything else in it is refused."""

    module_path: Path
    pin_file: Path | None
    """None: the PIN is empty."""
    module_arguments: str | None = None
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    slot_id: int | None = None
    object: str | None = None
    profile: str | None = None
    lookup: cloudhsm.Lookup | None = None
    single_hsm: bool = False

    @classmethod
    def parse(cls, uri: str) -> Pkcs11Uri:
        """Parse `pkcs11:token=LABEL?module-path=LIBRARY&pin-source=file:PINFILE`."""
        path, _, query = uri.removeprefix("pkcs11:").partition("?")
        which = single(pairs(path, ";"), _PATH)
        how = single(pairs(query, "&"), _QUERY)
        if not which.keys() & _WHICH:
            msg = "a PKCS#11 URI must say which token is meant: token=LABEL"
            raise RequestError(msg)
        module = how.get("module-path", "")
        if not module.startswith("/"):
            msg = "a PKCS#11 URI must name the vendor's library by its full path: module-path=/PATH"
            raise RequestError(msg)
        profile = how.get("profile")
        if profile != cloudhsm.PROFILE and how.keys() & cloudhsm.ATTRIBUTES:
            named = ", ".join(sorted(how.keys() & cloudhsm.ATTRIBUTES))
            msg = f"{named} in a PKCS#11 URI are of AWS CloudHSM, and need profile={cloudhsm.PROFILE}"
            raise RequestError(msg)
        slot, label = which.get("slot-id"), which.get("object")
        return cls(
            module_path=Path(module),
            pin_file=pin_file_or_empty(how.get("pin-source")),
            module_arguments=how.get("module-init-args"),
            token=which.get("token"),
            serial=which.get("serial"),
            manufacturer=which.get("manufacturer"),
            model=which.get("model"),
            slot_id=None if slot is None else count("slot-id", slot),
            object=None if label is None else check_label(label),
            profile=profile,
            lookup=cloudhsm.Lookup.parse(how),
            single_hsm=cloudhsm.single_hsm(how),
        )

    def log_in(self) -> Pkcs11Token:
        """Open the token with the PIN in its file, read outside Python."""
        if self.pin_file is not None:
            check_private(self.pin_file, "PIN file")
        return Pkcs11Token(
            self.module_path,
            self.pin_file,
            module_arguments=self.module_arguments,
            token=self.token,
            serial=self.serial,
            manufacturer=self.manufacturer,
            model=self.model,
            slot_id=self.slot_id,
            profile=self.profile,
        )


class Pkcs11Hsm:
    """An `Hsm` on a PKCS#11 token.

    A lost session, login or handle is mended inside: the pool is dropped, the token logged into again, keys are found
    again by label, and what can be repeated is repeated once.
    """

    __slots__ = ("_client", "_missing", "_quorum", "_remedy", "_uri", "info", "operations")

    def __init__(self, uri: Pkcs11Uri) -> None:
        cluster = uri.lookup.look() if uri.lookup else None
        if cluster:
            cloudhsm.warn_of_availability_check(uri.module_path, cluster.active)
        token = uri.log_in()
        if uri.object is not None:
            # Whoever names a key wants to know now that it is missing.
            try:
                token.attributes(uri.object)
            except HsmError:
                token.close()
                raise
        if token.profile in GIVEN_UP:
            _LOG.warning("profile=%s gives up a check: %s", token.profile, GIVEN_UP[token.profile])
        self._uri = uri
        self._quorum = (
            cloudhsm.Quorum(uri.lookup, cluster, single=uri.single_hsm) if token.profile == cloudhsm.PROFILE else None
        )
        self._client = PerProcess(token)
        self._missing = {kind: tuple(token.missing_mechanisms[kind]) for kind in KeyKind}
        self._remedy = token.remedy
        self.operations = OperationCounts()
        self.info = HsmInfo(
            provider="pkcs11",
            model=f"{token.model}, {cluster.kind} {cluster.mode}" if cluster else token.model,
            # As far as a module can say so itself: that its slot is hardware.
            attested=token.hardware,
            capabilities=frozenset(kind for kind in KeyKind if not self._missing[kind]),
            capacity=token.capacity,
            max_wrap_bytes=token.max_wrap_bytes,
        )

    @classmethod
    def open(cls, uri: str, *, create: bool = False) -> Pkcs11Hsm:
        """Open `pkcs11:token=LABEL?module-path=LIBRARY&pin-source=file:PINFILE`."""
        parsed = Pkcs11Uri.parse(uri)
        if create:
            msg = "a PKCS#11 token is made with its vendor's tools, not by icehouse"
            raise RequestError(msg, hint="for SoftHSM: softhsm2-util --init-token --free --label LABEL")
        return cls(parsed)

    def create_key(self, label: str, kind: KeyKind) -> HsmKey:
        """Make a key inside the token; a label that exists is refused."""
        key = HsmKey(label, KeyKind(kind))
        if self._quorum:
            self._quorum.check()
        self._counted(Operation.CREATE_KEY).create_key(key.label, key.kind)
        return key

    def destroy_key(self, key: HsmKey) -> Destruction:
        """Destroy a key on the token at once; what its vendor keeps in backups is the vendor's."""
        self._counted(Operation.DESTROY_KEY).destroy_key(key.label, key.kind)
        return Destruction(done=True)

    def keys(self, prefix: str) -> list[HsmKey]:
        """The keys whose labels start with `prefix`, by label; other software's labels are passed over."""
        found = self._counted(Operation.KEYS).keys(prefix)
        return [HsmKey(label, KeyKind(kind)) for label, kind in found if is_label(label)]

    def wrap(self, key: HsmKey, secret: DataKey, context: bytes) -> bytes:
        """Wrap a data key so that it opens only under this key in this context of 32 bytes."""
        check_context(context)
        return self._counted(Operation.WRAP).wrap(key.label, secret, context)

    def unwrap(self, key: HsmKey, wrapped: bytes, context: bytes) -> DataKey:
        """Open what `wrap` made under this key in this context."""
        check_context(context)
        return self._counted(Operation.UNWRAP).unwrap(key.label, wrapped, context)

    def mac(self, key: HsmKey, message: bytes) -> Node:
        """HMAC-SHA512 of the message: 64 secret bytes."""
        return self._counted(Operation.MAC).mac(key.label, message)

    def sign(self, key: HsmKey, digest: bytes) -> bytes:
        """An ECDSA signature on a digest of 32 bytes, as the 64 bytes r || s."""
        check_digest(digest)
        return self._counted(Operation.SIGN).sign(key.label, digest)

    def public_key(self, key: HsmKey) -> bytes:
        """The public key that `sign` signs under, as an uncompressed SEC1 point of 65 bytes."""
        return self._token().public_key(key.label)

    def attributes(self, label: str) -> dict[str, bool]:
        """The PKCS#11 attributes on which trust in a key rests, as the token tells them."""
        return self._token().attributes(label)

    def missing_mechanisms(self) -> dict[KeyKind, tuple[str, ...]]:
        """The mechanisms that the module's list lacks, by the kinds of key that need them."""
        return dict(self._missing)

    def remedy(self) -> str:
        """What to do about a mechanism that is missing."""
        return self._remedy

    def rights(self) -> list[Right]:
        """A module has one kind of user: whoever has the PIN."""
        return []

    def close(self) -> None:
        """Close every session of this process."""
        self._client.close()

    def _counted(self, operation: Operation) -> Pkcs11Token:
        token = self._token()
        self.operations.add(operation)
        return token

    def _token(self) -> Pkcs11Token:
        return self._client.get(self._logged_in_again)

    def _logged_in_again(self) -> Pkcs11Token:
        with reopening():
            return self._uri.log_in()
