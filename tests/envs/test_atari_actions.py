"""The action names are the emulator's, and mirrors are what a player would expect."""

import ale_py
import pytest

from rlkit_envs.atari_actions import ACTION_NAMES, mirrored_actions


def test_names_are_the_emulators() -> None:
    names = {action.value: name for name, action in ale_py.Action.__members__.items()}
    assert [names[value] for value in range(18)] == list(ACTION_NAMES)


@pytest.mark.parametrize(
    ("name", "up_down", "left_right", "mirrored"),
    [
        ("UPRIGHTFIRE", False, True, "UPLEFTFIRE"),
        ("UPRIGHTFIRE", True, False, "DOWNRIGHTFIRE"),
        ("UPRIGHTFIRE", True, True, "DOWNLEFTFIRE"),
        ("LEFT", False, True, "RIGHT"),
        ("LEFT", True, False, "LEFT"),
        ("FIRE", True, True, "FIRE"),
    ],
)
def test_mirrors(name: str, up_down: bool, left_right: bool, mirrored: str) -> None:
    actions = mirrored_actions(up_down=up_down, left_right=left_right)
    assert ACTION_NAMES[actions[ACTION_NAMES.index(name)]] == mirrored


@pytest.mark.parametrize(("up_down", "left_right"), [(True, False), (False, True), (True, True)])
def test_mirroring_twice_changes_nothing(up_down: bool, left_right: bool) -> None:
    actions = mirrored_actions(up_down=up_down, left_right=left_right)
    assert [actions[actions[action]] for action in range(18)] == list(range(18))
