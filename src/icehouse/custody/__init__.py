"""The strategies that tie shares to root keys."""

from icehouse.custody._custody import Custody, OpenKey, WrappedKeys
from icehouse.custody._hybrid import HybridCustody
from icehouse.custody._opened import OpenedKeys

__all__ = ["Custody", "HybridCustody", "OpenKey", "OpenedKeys", "WrappedKeys"]
