"""Registered names of the environments that rlkit knows more of than Gymnasium's interface."""

BIN_PICKING = "rlkit/BinPicking-v0"
DATA_CENTER = "rlkit/DataCenterCooling-v0"
