"""The worlds: vector environments that agents learn in.

Each world is a `gymnasium.vector.VectorEnv` with NEXT_STEP autoreset. This package knows no
agent and no torch. `ale_py` is imported only once an Atari game is asked for.
"""

from rlkit_envs.atari import AtariEnvs, AtariProtocol

__all__ = ["AtariEnvs", "AtariProtocol"]
