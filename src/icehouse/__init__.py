"""FROST key shares for millions of users behind a handful of HSM keys."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icehouse.device.device import Cosigner, Device
    from icehouse.errors import IcehouseError, RequestError, SealError
    from icehouse.model import FrostShards
    from icehouse.planner import plan
    from icehouse.service import (
        DirectFrostService,
        FrostService,
        HierarchicalFrostService,
        HybridFrostService,
        create_hsm_frost,
    )

# Loaded when first used: `import icehouse` alone opens no database driver and no HSM's client.
_NAMES = {
    "Cosigner": "device",
    "Device": "device",
    "DirectFrostService": "service",
    "FrostService": "service",
    "FrostShards": "model",
    "HierarchicalFrostService": "service",
    "HybridFrostService": "service",
    "IcehouseError": "errors",
    "RequestError": "errors",
    "SealError": "errors",
    "create_hsm_frost": "service",
    "plan": "planner",
}

__all__ = [
    "Cosigner",
    "Device",
    "DirectFrostService",
    "FrostService",
    "FrostShards",
    "HierarchicalFrostService",
    "HybridFrostService",
    "IcehouseError",
    "RequestError",
    "SealError",
    "create_hsm_frost",
    "plan",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  whoever does not ask need not wait for it

        return version("icehouse")
    module = _NAMES.get(name)
    if module is None:
        msg = f"module 'icehouse' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"icehouse.{module}"), name)
