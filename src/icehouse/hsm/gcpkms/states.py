"""States and kinds of keys in Google Cloud KMS by their names; also those that the installed client does not know."""

from __future__ import annotations

from typing import Any

from icehouse.errors import HsmError, HsmRefusedError, HsmUnavailableError
from icehouse.hsm.gcpkms.wire import RIGHTS, tools
from icehouse.hsm.listing import GoneError

# After the wire, which knows what to say when Google's client is not installed.
from google.cloud.kms_v1 import types  # isort: skip

Purpose = types.CryptoKey.CryptoKeyPurpose
Algorithm = types.CryptoKeyVersion.CryptoKeyVersionAlgorithm
State = types.CryptoKeyVersion.CryptoKeyVersionState
Level = types.ProtectionLevel
DEAD = frozenset({State.DESTROY_SCHEDULED, State.DESTROYED})
_EMPTY = frozenset({State.GENERATION_FAILED, State.IMPORT_FAILED})
"""There never was a key in these."""
STRANGE = "find out who made it; what is under the vault's own key opens under no other"
_UPGRADE = "a newer client may know it: pip install --upgrade google-cloud-kms"


def number(message: Any, field: str) -> int:  # noqa: ANN401  any of Google's messages
    """The number of an enumerator. Read by its name, the client would warn of one that it does not know."""
    return int(getattr(type(message).pb(message), field))


def named(kind: Any, value: int) -> str:  # noqa: ANN401  the enumeration
    """The name of an enumerator; of one that the client does not know, its number and that it does not."""
    try:
        return str(kind(value).name)
    except ValueError:
        return f"{value} (unknown to the installed google-cloud-kms)"


def is_known(kind: Any, value: int) -> bool:  # noqa: ANN401  the enumeration
    """Whether the installed client has an enumerator of this number."""
    return value in {int(each) for each in kind}


def hint_for(kind: Any, value: int, otherwise: str = STRANGE) -> str:  # noqa: ANN401  the enumeration
    """What to do about a value that is not as it should be: about one that nobody here knows, a newer client."""
    return otherwise if is_known(kind, value) else _UPGRADE


def has_key(version: Any) -> bool:  # noqa: ANN401
    """Whether a version has a key now, or will have: one in a state that is not known, too."""
    return bool(version.name) and number(version, "state") not in DEAD | _EMPTY


def number_of(version: str) -> str:
    """The number at the end of a version's name."""
    return version.rpartition("/")[2]


def not_enabled(version: Any, label: str, told: str = "") -> HsmError:  # noqa: ANN401
    """Why a version does not serve, by the name of its state, and what brings it back. `told`: what is the matter."""
    state, which = number(version, "state"), number_of(version.name)
    name = named(State, state)
    msg = told or f"version {which} of the key labelled {label!r} is {name}, not ENABLED"
    enable, permission = tools("enable", version.name), RIGHTS["update_crypto_key_version"][0]
    if state == State.PENDING_GENERATION:
        return HsmUnavailableError(f"the key labelled {label!r} is still being generated")
    if state == State.DISABLED:
        return HsmRefusedError(msg, hint=f"enable it: '{enable}'; that takes the permission {permission}")
    if state == State.DESTROY_SCHEDULED:
        until = version.destroy_time
        hint = f"until then '{tools('restore', version.name)}' and then '{enable}' bring it back"
        return GoneError(f"{msg}: it is destroyed on {until:%Y-%m-%d %H:%M} UTC" if until else msg, hint=hint)
    reason = version.generation_failure_reason or version.import_failure_reason
    return HsmRefusedError(
        f"{msg}: {reason}" if reason else msg, hint=hint_for(State, state, _HINTS.get(state, STRANGE))
    )


_HINTS: dict[int, str] = {
    int(State.DESTROYED): "nothing brings it back: what it wrapped is lost with it",
    int(State.PENDING_IMPORT): "icehouse uses no imported key: find out who imports one under this label",
    int(State.IMPORT_FAILED): "icehouse uses no imported key: find out who imported one under this label",
    int(State.GENERATION_FAILED): "there never was a key: destroy the version, and run the command that made it again",
}
