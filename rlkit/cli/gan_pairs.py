"""`rlkit gan pairs`: pictures and the same pictures changed, to learn the change from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from tyro.conf import FlagCreatePairsOff

from rlkit.cli.mistakes import Mistake, blaming_user
from rlkit.cli.options import check_least, check_writable, parse
from rlkit.gan.pair_making import DepthSensorConfig, check_looks, depth_pairs, look_pairs
from rlkit.gan.pairs import mean_error, write_pairs
from rlkit.observations import PlayConfig

if TYPE_CHECKING:
    import numpy as np

_HELP = """\
usage: rlkit gan pairs WORLD ...

Writes pictures, and the same pictures changed, into a file that `rlkit gan train` learns from.

  rlkit gan pairs heightmaps   bins as they are, and through a depth camera
  rlkit gan pairs boxing       frames of Boxing as they are, and in another look

`rlkit gan pairs WORLD --help` explains one."""


@dataclass(frozen=True)
class HeightmapOptions:
    """Write heightmaps of bins, in bytes of a millimetre each, and the same bins through a depth
    camera with noise, drop-out and shadows."""

    output: Path = Path("heightmaps.npz")
    """The file; an older one is replaced."""
    tier: str = "all"
    """Of the bins: single, mixed, heavy, entangled, walled, or all, one drawn anew for each
    episode."""
    sensor: DepthSensorConfig = field(default_factory=DepthSensorConfig)
    """The depth camera, and how badly it sees."""
    play: PlayConfig = field(
        default_factory=lambda: PlayConfig(1_000, every=2, channels=(0,), as_trained=True)
    )
    """Who picks, and how many pictures are taken."""
    seed: int = 0
    """Of what the camera adds."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


@dataclass(frozen=True)
class BoxingOptions:
    """Write frames of Boxing, and the same frames in another look, drawn for each."""

    output: Path = Path("boxing.npz")
    """The file; an older one is replaced."""
    looks: tuple[str, ...] = ("brightness:40", "contrast:0.4", "noise:8")
    """Changes, one after the other, as --algorithm.augmentation of `rlkit train` takes them; not
    those that move things, and none of a family that robustness is measured by."""
    play: PlayConfig = field(default_factory=lambda: PlayConfig(2_000))
    """Who plays, and how many frames are kept."""
    seed: int = 0
    """Of the looks."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


def run(arguments: Sequence[str]) -> int:
    """Write pairs as `arguments` say."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    world, *rest = arguments
    if world == "heightmaps":
        heights = parse(HeightmapOptions, rest, "gan pairs heightmaps")
        return _write(world, heights, *_heightmaps(heights))
    if world == "boxing":
        frames = parse(BoxingOptions, rest, "gan pairs boxing")
        return _write(world, frames, *_boxing(frames))
    raise Mistake(f"rlkit gan pairs knows no {world!r}; there are heightmaps, boxing")


def _heightmaps(options: HeightmapOptions) -> tuple[np.ndarray, np.ndarray]:
    """Clean heightmaps, and what the camera sees."""
    _check(options)
    if options.play.channels != (0,):
        raise Mistake("--play.channels is 0 here: heights are the first channel of a bin's picture")
    from rlkit.cli.sources import recorded
    from rlkit.environment_ids import BIN_PICKING
    from rlkit.environments import GymnasiumEnvironment
    from rlkit_envs.bin_picking.configuration import BinPickingConfig
    from rlkit_envs.bin_picking.tiers import EVERY_TIER, TIERS

    clean: dict[str, Any] = {"noise_m": 0.0, "drop_out": 0.0}
    with blaming_user(ValueError):
        config = BinPickingConfig(tier=options.tier, **clean)
    tier = next(iter(TIERS)) if options.tier == EVERY_TIER else options.tier
    pixel_mm = 1e3 * config.camera(TIERS[tier]).pixel_m  # the same in every tier
    environment = GymnasiumEnvironment(BIN_PICKING, {"tier": options.tier, **clean})
    heights = recorded(environment, options.play, Console(stderr=True)).observations
    return depth_pairs(heights, options.sensor, pixel_mm=pixel_mm, seed=options.seed)


def _boxing(options: BoxingOptions) -> tuple[np.ndarray, np.ndarray]:
    """Frames, and the same in another look."""
    _check(options)
    from rlkit.cli.sources import recorded_frames

    with blaming_user(ValueError):
        check_looks(options.looks)
    frames = recorded_frames("boxing", options.play, Console(stderr=True)).observations
    with blaming_user(ValueError):
        return look_pairs(frames, options.looks, options.seed)


def _check(options: HeightmapOptions | BoxingOptions) -> None:
    check_writable("--output", options.output, ".npz")
    check_least(options, seed=0)


def _write(
    world: str, options: HeightmapOptions | BoxingOptions, images: np.ndarray, targets: np.ndarray
) -> int:
    """Write both, and say what they are."""
    write_pairs(options.output, images, targets)
    told = {
        "file": str(options.output),
        "world": world,
        "shape": list(images.shape),
        "changed_by": mean_error(images, targets),
        "settings": {**asdict(options), "output": str(options.output)},
    }
    if options.json:
        print(json.dumps(told))
    else:
        print(
            f"{options.output}: {len(images):,} pairs, changed by {told['changed_by']:.2f} of 255"
            " levels on average"
        )
    return 0
