"""The strategies that tie shares to root keys."""

from icehouse.custody.custody import NOTHING_TO_OPEN, Custody, Drawn, OpenKey, WrappedKeys
from icehouse.custody.direct import DirectCustody
from icehouse.custody.hierarchical import HierarchicalCustody
from icehouse.custody.hybrid import HybridCustody
from icehouse.custody.opened import Opened
from icehouse.custody.roots import RootKeys
from icehouse.custody.settings_seal import check_settings, seal_settings

__all__ = [
    "NOTHING_TO_OPEN",
    "Custody",
    "DirectCustody",
    "Drawn",
    "HierarchicalCustody",
    "HybridCustody",
    "OpenKey",
    "Opened",
    "RootKeys",
    "WrappedKeys",
    "check_settings",
    "seal_settings",
]
