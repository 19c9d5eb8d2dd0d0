"""What the operator asks: move shares under other root keys or data keys, rebuild, and destroy what is superseded."""

from icehouse.upkeep.upkeep import Upkeep

__all__ = ["Upkeep"]
