"""The worlds: vector environments that agents learn in.

Each world is a `gymnasium.vector.VectorEnv` with NEXT_STEP autoreset. This package knows no
agent and no torch. `ale_py` is imported only once an Atari game is asked for. Importing the package
registers its own worlds with Gymnasium, which imports a world's module only once it is asked for.
"""

import gymnasium

from rlkit_envs.atari import AtariEnvs, AtariProtocol

__all__ = ["AtariEnvs", "AtariProtocol"]

gymnasium.register(
    "rlkit/Recall-v0",
    entry_point="rlkit_envs.recall:RecallEnv",
    vector_entry_point="rlkit_envs.recall:RecallEnvs",
)
gymnasium.register(
    "rlkit/DataCenterCooling-v0",
    entry_point="rlkit_envs.data_center.single_environment:DataCenterEnv",
    vector_entry_point="rlkit_envs.data_center.environment:DataCenterEnvs",
)
gymnasium.register(
    "rlkit/BinPicking-v0",
    entry_point="rlkit_envs.bin_picking.single_environment:BinPickingEnv",
    vector_entry_point="rlkit_envs.bin_picking.environment:BinPickingEnvs",
)
