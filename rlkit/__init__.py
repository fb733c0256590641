"""The workbench that brings `rlkit_envs` and `rlkit_agents` together: training, evaluation, files.

The names that a script needs are loaded when they are first used, so that `import rlkit` is fast:

    import rlkit

    run = rlkit.train(rlkit.find_recipe("boxing"))
    loaded = rlkit.load_policy(run.policies / "best.safetensors")
    print(rlkit.evaluate(loaded.policy, loaded.environment, episodes=10).summary)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlkit.callbacks.callback import Callback
    from rlkit.callbacks.progress import Progress
    from rlkit.comparison import compare
    from rlkit.environments import GymnasiumEnvironment, make_envs
    from rlkit.evaluation import Evaluation, evaluate
    from rlkit.policies import LoadedPolicy, find_policy, load_policy, save_policy
    from rlkit.recipe import Recipe
    from rlkit.recipes import RECIPES, find_recipe
    from rlkit.run_folder import Run
    from rlkit.training import resume, train
    from rlkit.video import record
    from rlkit_agents.policy import Policy
    from rlkit_envs.atari import AtariProtocol

_MODULES = {
    "rlkit_agents.policy": ("Policy",),
    "rlkit_envs.atari": ("AtariProtocol",),
    "rlkit.callbacks.callback": ("Callback",),
    "rlkit.callbacks.progress": ("Progress",),
    "rlkit.comparison": ("compare",),
    "rlkit.environments": ("GymnasiumEnvironment", "make_envs"),
    "rlkit.evaluation": ("Evaluation", "evaluate"),
    "rlkit.policies": ("LoadedPolicy", "find_policy", "load_policy", "save_policy"),
    "rlkit.recipe": ("Recipe",),
    "rlkit.recipes": ("RECIPES", "find_recipe"),
    "rlkit.run_folder": ("Run",),
    "rlkit.training": ("resume", "train"),
    "rlkit.video": ("record",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "RECIPES",
    "AtariProtocol",
    "Callback",
    "Evaluation",
    "GymnasiumEnvironment",
    "LoadedPolicy",
    "Policy",
    "Progress",
    "Recipe",
    "Run",
    "compare",
    "evaluate",
    "find_policy",
    "find_recipe",
    "load_policy",
    "make_envs",
    "record",
    "resume",
    "save_policy",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
