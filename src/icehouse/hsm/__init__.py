"""Hardware security modules behind one protocol, opened by URI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from icehouse.errors import RequestError
from icehouse.hsm.absent import AbsentHsm
from icehouse.hsm.listing import FindsLabels, GoneError, Leftover, PartlyListedError, TellsLeftovers, labelled, sought
from icehouse.hsm.protocol import Destruction, Hsm, HsmInfo, HsmKey, KeyKind, OperationCounts, Right

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "AbsentHsm",
    "Destruction",
    "FindsLabels",
    "GoneError",
    "Hsm",
    "HsmInfo",
    "HsmKey",
    "KeyKind",
    "Leftover",
    "OperationCounts",
    "PartlyListedError",
    "Right",
    "TellsLeftovers",
    "labelled",
    "open_hsm",
    "sought",
]

# Strings, so that opening one provider never imports another's client.
_PROVIDERS = {
    "awskms": "icehouse.hsm.awskms.awskms:AwsKmsHsm",
    "gcpkms": "icehouse.hsm.gcpkms.gcpkms:GcpKmsHsm",
    "openbao": "icehouse.hsm.openbao.openbao:OpenBaoHsm",
    "pkcs11": "icehouse.hsm.pkcs11.pkcs11:Pkcs11Hsm",
    "simulated": "icehouse.hsm.simulated.simulated:SimulatedHsm",
}


def open_hsm(uri: str, *, create: bool = False) -> Hsm:
    """Open the HSM that a URI names.

    `create` makes a new token first, where the provider can: a simulated one's file, and never over another.
    """
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme not in _PROVIDERS:
        known = ", ".join(f"{name}:" for name in sorted(_PROVIDERS))
        # Not the whole URI: whoever gets the form wrong may have put a PIN into it.
        found = f"not {scheme}:" if colon else "not without a scheme"
        msg = f"an HSM URI must start with one of {known}; {found}"
        raise RequestError(msg)
    module, _, name = _PROVIDERS[scheme].partition(":")
    opener = cast("Callable[..., Hsm]", getattr(import_module(module), name).open)
    return opener(uri, create=create)
