"""What TensorBoard is shown of machines that learn, and which rows show pictures."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlkit.dbn.board import Board
from rlkit.dbn.dbn import DBN
from rlkit.dbn.pictures import picture_shape
from rlkit.dbn.rbm import RBM
from rlkit.dbn.rbm_config import RBMConfig


def patterns(columns: int = 16) -> np.ndarray:
    which = np.random.default_rng(0).integers(0, 2, (60, 1))
    return (np.arange(columns) % 2 == which).astype(np.float32)


def test_a_stack_shows_each_layer(tmp_path: Path):
    layers = (
        RBMConfig(hidden_units=5, epochs=2, batch_size=10),
        RBMConfig(hidden_units=3, epochs=3, batch_size=10),
    )
    rows = patterns()
    with Board(tmp_path, rows[:20]) as board:
        dbn = DBN(layers=layers).fit(rows[20:], held_out=rows[:20], on_epoch=[board])
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    for number, layer in enumerate(dbn.layers_):
        for name, field in (
            (f"reconstruction_error/layer{number}", "reconstruction_error"),
            (f"reconstruction_error/layer{number}_held_out", "held_out_reconstruction_error"),
            (f"free_energy_gap/layer{number}", "free_energy_gap"),
            (f"learning_rate/layer{number}", "learning_rate"),
        ):
            shown = [event.value for event in events.Scalars(name)]
            told = [getattr(record, field) for record in layer.history_]
            assert shown == pytest.approx(told)
        wanted = {f"{name}/layer{number}" for name in ("weights", "features", "usage")}
        assert wanted <= set(events.Tags()["histograms"])
        last = events.Histograms(f"usage/layer{number}")[-1].histogram_value
        assert last.num == layer.config.hidden_units
    assert set(events.Tags()["images"]) == {"filters", "reconstructions", "dreams"}
    for name, size in (("filters", (14, 9)), ("reconstructions", (79, 9)), ("dreams", (19, 19))):
        shown = events.Images(name)
        assert len(shown) == 5
        # 5 filters in 3 columns and 2 rows, 16 pictures above theirs, 16 dreams; 1 pixel between.
        assert (shown[-1].width, shown[-1].height) == size


def test_sensors_show_no_pictures_but_deviations(tmp_path: Path):
    rows = 300.0 + np.random.default_rng(0).standard_normal((60, 3)) * [1.0, 2.0, 3.0]
    with Board(tmp_path, rows[:20]) as board:
        config = RBMConfig.gaussian(hidden_units=2, epochs=2, batch_size=10)
        RBM(config).fit(rows[20:], held_out=rows[:20], on_epoch=[board])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert "deviation/layer0" in events.Tags()["histograms"]
    assert events.Tags()["images"] == []


def test_real_pictures_are_shown_by_their_own_scale(tmp_path: Path):
    rows = 300.0 + np.random.default_rng(0).standard_normal((60, 20))
    with Board(tmp_path, rows[:20], shape=(1, 4, 5)) as board:
        config = RBMConfig.gaussian(hidden_units=2, epochs=1, batch_size=10)
        RBM(config).fit(rows[20:], held_out=rows[:20], on_epoch=[board])
    events = EventAccumulator(str(tmp_path)).Reload()
    shown = events.Images("filters")[0]
    assert (shown.width, shown.height) == (11, 4)
    with pytest.raises(ValueError, match=r"20 numbers are none of the shape \(4, 4\)"):
        Board(tmp_path, rows, shape=(4, 4))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((784,), (28, 28)),
        ((1, 84, 84), (84, 84)),
        ((4, 84, 84), (336, 84)),
        ((128, 8), (128, 8)),
        ((1, 1024), (32, 32)),
        ((9,), None),
        ((17,), None),
        ((84, 84, 3), None),
    ],
)
def test_what_rows_show(shape: tuple[int, ...], expected: tuple[int, int] | None):
    assert picture_shape(shape) == expected
