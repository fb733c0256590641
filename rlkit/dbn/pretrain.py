"""Stacks that learn from recorded play, for agents whose torso then starts from them.

Play is recorded, the units are chosen by what is seen, the layers by the agent's torso, and what
comes out says how much of the states was covered, on which it depends whether this helps (Abtahi &
Fasel 2011, "Deep belief nets as function approximators for reinforcement learning").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlkit.configuration import to_json
from rlkit.dbn.coverage import Coverage, Spread, coverage, spread
from rlkit.dbn.dbn import DBN, DBNConfig
from rlkit.dbn.machine import GaussianMachine, Machine, VisibleUnits
from rlkit.dbn.quality import StackQuality, measure
from rlkit.dbn.rbm import RBM, OnEpoch
from rlkit.dbn.rbm_config import RBMConfig
from rlkit.dbn.rows import checked_rows, flat_rows
from rlkit.dbn.torso import EXACT_ACTIVATIONS
from rlkit.environments import Environment, make_envs
from rlkit.observations import PlayConfig, gather, read_real_rows
from rlkit.recipe import Recipe
from rlkit.run_folder import provenance
from rlkit_agents.networks import NetworkConfig

MANY_CONSTANT_FEATURES = 0.5
"""Share of the top layer's features that hardly change, beyond which a note says so."""


@dataclass(frozen=True)
class PretrainConfig:
    """What is recorded, and how the stack learns from it. Raises ValueError for what makes no
    sense."""

    play: PlayConfig = field(default_factory=PlayConfig)
    """Who plays, and how much of it is kept."""
    reference: tuple[str, ...] = ()
    """Whose play should be covered, to say how much of it is: recipes, folders of runs, policy
    files, or one file of observations (.npz). Nothing is learned from it."""
    epochs: int = 20
    """Passes of each layer over the observations."""
    batch_size: int = 100
    """Rows of an update."""
    learning_rate: float = 0.05
    """Of layers with Bernoulli visible units; it falls to 0."""
    gaussian_learning_rate: float = 0.01
    """Of a lowest layer with Gaussian ones (Liao et al. 2022); it falls to 0."""
    weight_decay: float = 0.0002
    """Factor of the L2 penalty on weights (Hinton 2012, section 10)."""
    held_out_share: float = 0.1
    """Of the observations, in (0, 1), on which the stack is judged."""
    seed: int = 0
    """Of the stack; that of the play is its own."""

    def __post_init__(self) -> None:
        if not 0.0 < self.held_out_share < 1.0:
            raise ValueError(f"held_out_share must be in (0, 1), got {self.held_out_share}")
        if self.play.size is not None:
            raise ValueError("play.size is for single frames; what is seen is up to the recipe")
        self.stack((1,), "bernoulli")  # which has checks of its own
        self.stack((1,), "gaussian")

    def stack(self, sizes: Sequence[int], visible: VisibleUnits) -> DBNConfig:
        """One with these numbers of hidden units."""
        shared = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "weight_decay": self.weight_decay,
        }
        binary = RBMConfig(learning_rate=self.learning_rate, **shared)
        layers = [replace(binary, hidden_units=size) for size in sizes]
        if visible == "gaussian":
            layers[0] = RBMConfig.gaussian(
                hidden_units=sizes[0], **shared, learning_rate=self.gaussian_learning_rate
            )
        return DBNConfig(tuple(layers), self.seed)


@dataclass(frozen=True)
class Material:
    """What a stack learns from."""

    learnt: NDArray[np.float32]
    """(rows, varying columns)."""
    held_out: NDArray[np.float32]
    """(rows, varying columns), to judge by."""
    shape: tuple[int, ...]
    """Of an observation, or (varying columns,) where some are left out."""
    visible: VisibleUnits
    """Units that fit them."""
    constants: NDArray[np.float32]
    """(columns,): the value of a column that never changed, NaN of one that did."""

    @property
    def varying(self) -> NDArray[np.bool_]:
        """(columns,): which are learned from."""
        return np.isnan(self.constants)


@dataclass(frozen=True)
class Pretrained:
    """A stack for an agent's torso, and what is known of it."""

    dbn: DBN
    """Takes observations as they come, flat, bytes scaled to [0, 1]."""
    notes: tuple[str, ...]
    """Where the agent's features will differ from the stack's, what was left out, and whether most
    features hardly change."""
    quality: StackQuality
    """On held-out observations."""
    spread: Spread
    """How varied the recorded observations are."""
    coverage: Coverage | None
    """How much of the reference they cover; None without one."""
    provenance: dict[str, Any]
    """Plain JSON data on how it came about, to be saved with it."""
    observations: NDArray[Any]
    """As they were recorded, (count, *shape)."""


def torso_network(recipe: Recipe) -> NetworkConfig:
    """The recipe's network, where its torso can start from a stack.

    Raises ValueError for other torsos.
    """
    network = getattr(recipe.algorithm, "network", None)
    if not isinstance(network, NetworkConfig):
        raise ValueError(
            f"{recipe.name} has no torso of dense layers; a policy of Stable-Baselines3 takes a"
            " stack from a script, by rlkit.dbn.torso.policy_kwargs"
        )
    if network.torso != "mlp":
        raise ValueError(
            f'{recipe.name} has the torso "{network.torso}", whose convolutions are no stack of'
            ' machines; take a recipe with the torso "mlp", or rlkit autoencoder train'
        )
    if network.noisy:
        raise ValueError(
            f"{recipe.name} has noisy layers, which learn how noisy they are beside their weights;"
            " a stack is for layers without noise"
        )
    return network


def torso_notes(network: NetworkConfig) -> tuple[str, ...]:
    """Why features of such a torso are not those of the stack whose weights it gets, if so."""
    notes = []
    if network.activation not in EXACT_ACTIVATIONS:
        notes.append(
            f"the torso's activation is \"{network.activation}\": it gets the stack's weights, but"
            f" its features differ; they are the same with {' or '.join(EXACT_ACTIVATIONS)}"
        )
    if network.layer_norm != "none":
        notes.append(
            f'the torso normalises its layers ("{network.layer_norm}"): it gets the stack\'s'
            " weights, but its features differ; they are the same with layer_norm none"
        )
    return tuple(notes)


def fitting_units(space: gym.Space) -> VisibleUnits:
    """Bernoulli for bytes and for what is bounded in [0, 1], such as bits; Gaussian for the rest.

    Raises ValueError for a space that is no Box.
    """
    if not isinstance(space, gym.spaces.Box):
        raise ValueError(f"a stack learns from observations in a Box, got {space}")
    bounded = bool((space.low >= 0.0).all() and (space.high <= 1.0).all())
    return "bernoulli" if space.dtype == np.uint8 or bounded else "gaussian"


def material(
    observations: NDArray[Any], visible: VisibleUnits, held_out_share: float = 0.1
) -> Material:
    """Rows to learn from and to judge by: the first share of observations is held out.

    observations: (count, *shape) in a random order, bytes being scaled to [0, 1]. Gaussian units
    need columns that vary: others are left out, by what the rows to learn from show.
    Raises ValueError where too few are there, none varies, or values do not suit the units.
    """
    rows = flat_rows(observations)
    held_out = round(held_out_share * len(rows))
    if not 0 < held_out < len(rows):
        raise ValueError(f"{len(rows)} observations are too few to hold some out")
    checked_rows(rows, visible)
    others, learnt = rows[:held_out], rows[held_out:]
    constants = np.full(rows.shape[1], np.nan, np.float32)
    if visible == "gaussian":
        deviation = torch.from_numpy(learnt).std(dim=0, correction=0).numpy()
        constant = (np.ptp(learnt, axis=0) == 0.0) | (deviation == 0.0)
        if constant.all():
            raise ValueError("no observation differs from another, so there is nothing to learn")
        constants[constant] = learnt[0, constant]
    varying = np.isnan(constants)
    whole = bool(varying.all())
    return Material(
        learnt=learnt if whole else learnt[:, varying].copy(),
        held_out=others if whole else others[:, varying].copy(),
        shape=observations.shape[1:] if whole else (int(varying.sum()),),
        visible=visible,
        constants=constants,
    )


def learn(given: Material, config: DBNConfig, on_epoch: Sequence[OnEpoch] = ()) -> DBN:
    """A stack that takes all columns.

    Columns that never changed have weights of 0, a mean as they were and a variance of 1 there:
    they add to no feature, whatever they become. on_epoch: sees machines without them.
    Raises and warns as `RBM.fit` does.
    """
    dbn = DBN(config)
    dbn.fit(given.learnt, held_out=given.held_out, on_epoch=on_epoch)
    if given.varying.all():
        return dbn
    lowest = dbn.layers_[0]
    widened = RBM(lowest.config).set_learned(
        _widened(lowest.machine_, given), _widened(lowest.base_, given), lowest.history_
    )
    return dbn.set_learned([widened, *dbn.layers_[1:]])


def pretrain(
    recipe: Recipe,
    config: PretrainConfig | None = None,
    on_start: Callable[[Material], Sequence[OnEpoch]] | None = None,
) -> Pretrained:
    """Record play of a recipe's environment, and let a stack learn whose layers are the torso's.

    on_start: is given what will be learned from, and says what should see each epoch.
    Raises ValueError for a torso that is no stack, observations that are none of numbers, players
    that are not there, and rows that do not fit a reference; raises and warns as `RBM.fit` does.
    """
    config = config or PretrainConfig()
    network = torso_network(recipe)
    visible = fitting_units(observed_space(recipe.environment))
    observations = gather(recipe.environment, config.play)
    reference = _reference(recipe.environment, config)
    given = material(observations, visible, config.held_out_share)
    stack = config.stack(network.hidden_sizes, visible)
    dbn = learn(given, stack, () if on_start is None else on_start(given))
    notes = list(torso_notes(network))
    constant = int((~given.varying).sum())
    if constant:
        notes.append(
            f"{constant} of {len(given.varying)} columns never changed: their weights start at 0"
        )
    rows = flat_rows(observations)
    split = len(given.held_out)
    quality = measure(dbn, rows[:split], rows[split:])
    constant_share = quality.layers[-1].constant_features
    if constant_share > MANY_CONSTANT_FEATURES:
        notes.append(
            f"{constant_share:.0%} of the top layer's features hardly change between observations,"
            " of which an agent learns little: take more epochs or larger learning rates"
        )
    return Pretrained(
        dbn=dbn,
        notes=tuple(notes),
        quality=quality,
        spread=spread(observations),
        coverage=None if reference is None else coverage(observations, reference),
        provenance={
            "recipe": recipe.name,
            "environment": to_json(recipe.environment, Environment),
            "activation": network.activation,
            "hidden_sizes": list(network.hidden_sizes),
            "visible": visible,
            "pretraining": asdict(config),
            **provenance(),
        },
        observations=observations,
    )


def observed_space(environment: Environment) -> gym.Space:
    """Of one observation. Raises ValueError for an unknown environment."""
    envs = make_envs(environment, 1)
    try:
        return envs.single_observation_space
    finally:
        envs.close()


def _reference(environment: Environment, config: PretrainConfig) -> NDArray[Any] | None:
    """Observations that should be covered; of other episodes than those learned from."""
    names = config.reference
    if not names:
        return None
    if len(names) == 1 and names[0].endswith(".npz"):
        return read_real_rows(names[0], "observations")
    seed = config.play.seed + len(config.play.policies) + 1
    play = replace(config.play, policies=names, random=False, seed=seed)
    return gather(environment, play)


def _widened(machine: Machine, given: Material) -> GaussianMachine:
    """The machine with the columns that were left out."""
    assert isinstance(machine, GaussianMachine)
    varying = torch.from_numpy(given.varying)
    constants = torch.from_numpy(np.nan_to_num(given.constants))

    def wide(narrow: Tensor, start: Tensor) -> Tensor:
        whole = start.expand(*narrow.shape[:-1], math.prod(varying.shape)).clone()
        whole[..., varying] = narrow
        return whole

    zero = torch.zeros_like(constants)
    return GaussianMachine(
        wide(machine.weights, zero),
        wide(machine.visible_bias, constants),
        machine.hidden_bias.clone(),
        wide(machine.log_variance, zero),
        wide(machine.offset, constants),
    )
