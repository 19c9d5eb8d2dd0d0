"""A user's device: its half of the key, in its encrypted file, and what it says to a cosigner."""

from icehouse.device.device import Cosigner, Device

__all__ = ["Cosigner", "Device"]
