"""The strategies that tie shares to root keys."""

from icehouse.custody._custody import NOTHING_TO_OPEN, Custody, Drawn, OpenKey, WrappedKeys
from icehouse.custody._direct import DirectCustody
from icehouse.custody._hierarchical import HierarchicalCustody
from icehouse.custody._hybrid import HybridCustody
from icehouse.custody._opened import Opened
from icehouse.custody._roots import RootKeys
from icehouse.custody._settings import check_settings, seal_settings

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
