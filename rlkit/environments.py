"""Builds environments from the description that is part of every recipe, policy and evaluation."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium as gym
from gymnasium.vector import VectorEnv

from rlkit.environment_ids import BIN_PICKING
from rlkit.reasons import reason_of
from rlkit_envs.atari import AtariEnvs, AtariProtocol

if TYPE_CHECKING:
    from rlkit.autoencoder.autoencoder import Autoencoder
    from rlkit.autoencoder.encode_observation import ObservationCoder
    from rlkit_agents.coded_pictures import CodedPictures

T = TypeVar("T")


@dataclass(frozen=True)
class GymnasiumEnvironment:
    """Any registered Gymnasium environment."""

    id: str
    """Its registered name, such as `CartPole-v1`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for its constructor."""


@dataclass(frozen=True)
class EncodedEnvironment:
    """Another environment, whose observations an autoencoder codes into bytes."""

    environment: AtariProtocol | GymnasiumEnvironment
    """What is played, with the observations that the autoencoder takes."""
    encoder: str
    """The name of an autoencoder that ships with rlkit, or the path of a file."""
    frame_stack: int | None = None
    """Codes in an observation, the last ones; None is one code, without an axis for them."""
    marks: bool = False
    """Whether the last channel, of zeros and ones, is not coded but stays behind the code, a bit a
    pixel: such as where bins are not to be picked from."""
    encoder_sha256: str | None = None
    """Checksum of the autoencoder that a policy learnt with, by which another one of the same name
    is refused; None takes what is there."""


Environment = AtariProtocol | GymnasiumEnvironment | EncodedEnvironment
"""A description from which `make_envs` builds."""


def environment_id(environment: Environment) -> str:
    """The environment's registered name, such as `ALE/Boxing-v5`."""
    if isinstance(environment, EncodedEnvironment):
        return environment_id(environment.environment)
    if isinstance(environment, AtariProtocol):
        return environment.environment_id
    return environment.id


def environment_configuration(environment: Environment, wanted: str, configuration: type[T]) -> T:
    """The arguments of the environment `wanted` as the dataclass that it takes them for.

    Whether its observations are coded does not matter.
    Raises ValueError for another environment, and for arguments that do not fit.
    """
    if isinstance(environment, EncodedEnvironment):
        environment = environment.environment
    if not isinstance(environment, GymnasiumEnvironment) or environment.id != wanted:
        raise ValueError(f"{environment_id(environment)!r} is not {wanted}")
    try:
        return configuration(**environment.arguments)
    except TypeError as error:
        raise ValueError(f"{wanted} does not take these arguments: {error}") from error


_NATIVELY_PARALLEL = (BIN_PICKING,)  # those that step in processes of their own


def make_envs(environment: Environment, num_envs: int, threads: int = 0) -> VectorEnv:
    """`num_envs` copies of an environment that step in one batch, under NEXT_STEP autoreset.

    threads: processor threads for an environment that is natively parallel; 0 is one a core.
    Raises ValueError for an unknown environment or arguments that do not fit it, and for an encoder
    that is not there or codes something else.
    """
    if isinstance(environment, EncodedEnvironment):
        return encoded(make_envs(environment.environment, num_envs, threads), environment)
    if isinstance(environment, AtariProtocol):
        return AtariEnvs(environment, num_envs, threads=threads)
    own = {"processes": threads} if environment.id in _NATIVELY_PARALLEL else {}
    try:
        return gym.make_vec(environment.id, num_envs=num_envs, **own, **environment.arguments)
    except (gym.error.Error, TypeError) as error:
        raise ValueError(f"cannot make environment {environment.id!r}: {error}") from error


def encoded(envs: VectorEnv, environment: EncodedEnvironment) -> VectorEnv:
    """The environments `envs`, with their observations coded as `environment` says.

    Raises ValueError for an encoder that is not there or codes something else.
    """
    from rlkit.autoencoder.encode_observation import EncodeObservations

    return EncodeObservations(envs, **_coding(environment))


def with_checksum(environment: Environment) -> Environment:
    """The same, with the checksum of the autoencoder that is there now, if it has one.

    Raises ValueError for one that is not there, or is not the one whose checksum it has.
    """
    if not isinstance(environment, EncodedEnvironment):
        return environment
    return replace(environment, encoder_sha256=_autoencoder(environment).sha256)


def _autoencoder(environment: EncodedEnvironment) -> Autoencoder:
    from rlkit.autoencoder.autoencoder import find_autoencoder

    autoencoder = find_autoencoder(environment.encoder)
    if environment.encoder_sha256 not in (None, autoencoder.sha256):
        raise ValueError(
            f"the autoencoder {environment.encoder} is not the one that was learnt with: its "
            f"checksum is {autoencoder.sha256}, not {environment.encoder_sha256}"
        )
    return autoencoder


def _coding(environment: EncodedEnvironment) -> dict[str, Any]:
    """What the wrappers of `rlkit.autoencoder.encode_observation` take."""
    return {
        "autoencoder": _autoencoder(environment),
        "frame_stack": environment.frame_stack,
        "as_bytes": True,
        "marks": environment.marks,
    }


def observation_coder(
    environment: Environment, observation_space: gym.Space
) -> ObservationCoder | None:
    """What codes batches of observations of the plain environment as `environment` says.

    observation_space: of the plain one. None where observations are not coded.
    Raises ValueError for an encoder that is not there or codes something else.
    """
    if not isinstance(environment, EncodedEnvironment):
        return None
    from rlkit.autoencoder.encode_observation import ObservationCoder

    return ObservationCoder(space=observation_space, **_coding(environment))


def coded_pictures(environment: Environment) -> CodedPictures | None:
    """What makes pictures of the environment's observations again, for policies that need places.

    None where observations are no codes with marks. Raises ValueError for an encoder that is not
    there, and one whose codes are no maps of pictures in floating point.
    """
    if not isinstance(environment, EncodedEnvironment) or not environment.marks:
        return None
    from rlkit.autoencoder.pictures import pictures_of_codes

    return pictures_of_codes(_autoencoder(environment))


_ATARI_PREPROCESSING = ("observation", "frame_stack", "height", "width", "grayscale", "flicker")


def preprocessing(environment: Environment) -> dict[str, Any]:
    """The part of a description that says how a policy sees the world, not how it is played."""
    if isinstance(environment, EncodedEnvironment):
        return {
            **preprocessing(environment.environment),
            "encoder": environment.encoder,
            "frame_stack": environment.frame_stack,
            # Unknown to older descriptions.
            **({"marks": True} if environment.marks else {}),
            **({"encoder_sha256": known} if (known := environment.encoder_sha256) else {}),
        }
    fields = asdict(environment) if isinstance(environment, AtariProtocol) else {}
    return {name: fields[name] for name in _ATARI_PREPROCESSING if name in fields}


def seen_alike(environment: Environment, on: Environment) -> Environment:
    """The world `on`, seen as `environment` is: a policy of the one then plays in the other."""
    if isinstance(environment, EncodedEnvironment):
        plain = on.environment if isinstance(on, EncodedEnvironment) else on
        inner = seen_alike(environment.environment, plain)
        assert not isinstance(inner, EncodedEnvironment)
        return replace(environment, environment=inner)
    if isinstance(on, EncodedEnvironment):
        return seen_alike(environment, on.environment)
    return replace(on, **preprocessing(environment)) if isinstance(on, AtariProtocol) else on


def for_evaluation(environment: Environment) -> Environment:
    """The environment under the protocol of evaluations, whatever a training made easier.

    An Atari game gets sticky actions of 0.25, unclipped rewards, up to 30 no-ops and whole episodes
    (Machado et al. 2018); what a policy sees, its actions and its pace stay as they are. Bins that
    were of all tiers are of the mixed one.
    """
    if isinstance(environment, EncodedEnvironment):
        inner = for_evaluation(environment.environment)
        assert not isinstance(inner, EncodedEnvironment)
        return replace(environment, environment=inner)
    if isinstance(environment, GymnasiumEnvironment):
        if environment.arguments.get("tier") == "all":  # bin picking alone has tiers
            return replace(environment, arguments={**environment.arguments, "tier": "mixed"})
        return environment
    usual = AtariProtocol(environment.game)
    return replace(
        environment,
        sticky_actions=usual.sticky_actions,
        clip_rewards=usual.clip_rewards,
        max_noops=usual.max_noops,
        max_frames=usual.max_frames,
    )


def describe(environment: Environment) -> dict[str, Any]:
    """Plain JSON data with the environment's id and arguments, as stamped on evaluations."""
    if isinstance(environment, EncodedEnvironment):
        return {**describe(environment.environment), **preprocessing(environment)}
    return {"id": environment_id(environment), **asdict(environment)}


def make_watchable(environment: Environment) -> gym.Env:
    """One copy of an environment whose `render()` gives RGB pictures (height, width, 3) uint8.

    Spaces, observations and rewards are those of `make_envs`, for a single environment.
    Raises ValueError for an unknown environment, and for one that cannot be drawn here: the
    message then names what is missing.
    """
    if isinstance(environment, EncodedEnvironment):
        from rlkit.autoencoder.encode_observation import EncodeObservation

        return EncodeObservation(make_watchable(environment.environment), **_coding(environment))
    if isinstance(environment, AtariProtocol):
        from rlkit_envs.atari_watching import WatchableAtari

        return WatchableAtari(environment)
    try:
        with warnings.catch_warnings():
            # Gymnasium warns of a missing render mode, which is an error here, further down.
            warnings.simplefilter("ignore")
            env = gym.make(environment.id, render_mode="rgb_array", **environment.arguments)
    except (gym.error.Error, TypeError) as error:
        raise ValueError(f"cannot make environment {environment.id!r}: {error}") from error
    try:
        if "rgb_array" not in env.metadata.get("render_modes", []):
            raise ValueError("it has no render mode 'rgb_array'")
        env.reset()
        env.render()
    except Exception as error:  # what a missing library or display raises depends on the library
        env.close()
        raise ValueError(
            f"cannot draw environment {environment.id!r}: {reason_of(error)}"
        ) from error
    return env
