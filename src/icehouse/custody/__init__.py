"""The strategies that tie shares to root keys."""

from icehouse.custody.allowed import allows, check_allowed
from icehouse.custody.custody import NOTHING_TO_OPEN, Custody, Drawn, Means, OpenKey, WrappedKeys
from icehouse.custody.direct import DirectCustody
from icehouse.custody.hierarchical import HierarchicalCustody
from icehouse.custody.hybrid import HybridCustody
from icehouse.custody.kinds import KINDS, custody_class, is_ours
from icehouse.custody.opened import Opened
from icehouse.custody.refusal import Verb
from icehouse.custody.roots import RootKeys
from icehouse.custody.settings_seal import check_settings, seal_settings

__all__ = [
    "KINDS",
    "NOTHING_TO_OPEN",
    "Custody",
    "DirectCustody",
    "Drawn",
    "HierarchicalCustody",
    "HybridCustody",
    "Means",
    "OpenKey",
    "Opened",
    "RootKeys",
    "Verb",
    "WrappedKeys",
    "allows",
    "check_allowed",
    "check_settings",
    "custody_class",
    "is_ours",
    "seal_settings",
]
