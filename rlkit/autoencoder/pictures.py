"""An autoencoder's decoder as the part of a policy that makes pictures of codes."""

from __future__ import annotations

from rlkit.autoencoder.autoencoder import Autoencoder
from rlkit_agents.coded_pictures import CodedPictureConfig, CodedPictures


def pictures_of_codes(autoencoder: Autoencoder) -> CodedPictures:
    """What makes of codes in bytes, with marks behind them, the pictures that it decodes.

    Raises NotFittedError, and ValueError for codes that are no maps or pictures in bytes.
    """
    network = autoencoder.network
    config = network.config
    if not config.halvings or network.takes_bytes:
        raise ValueError(
            "a policy makes pictures in floating point of codes that are maps: learn a code with "
            f"--autoencoder.halvings; this one has {config.halvings}, of {network.space.dtype}"
        )
    channels, height, width = network.space.shape
    shape = (channels, height, width)
    pictures = CodedPictures(CodedPictureConfig(shape, config.latents, config.halvings))
    weights = network.state_dict()
    pictures.load_state_dict({name: weights[name] for name in pictures.state_dict()})
    return pictures
