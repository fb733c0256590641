"""EnergyPlus as a second engine for the data centre: our model for it, and a process that runs it.

Only what runs needs the package pyenergyplus-lbnl (extra `energyplus`); importing this does not.
"""

from rlkit_envs.data_center.energyplus.engine import EnergyPlusEngine, EnergyPlusError
from rlkit_envs.data_center.energyplus.model import build_model
from rlkit_envs.data_center.energyplus.signals import EnergyPlusActions, EnergyPlusReadings

__all__ = [
    "EnergyPlusActions",
    "EnergyPlusEngine",
    "EnergyPlusError",
    "EnergyPlusReadings",
    "build_model",
]
