"""What telemetry of a data centre is recorded: how much, of which plant, operated by whom."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rlkit.autoencoder.anomalies.plant_faults import KINDS, SEVERITIES
from rlkit_envs.data_center.configuration import DataCenterConfig
from rlkit_envs.data_center.load_traces import LOADS
from rlkit_envs.data_center.sensors import SensorSettings
from rlkit_envs.data_center.synthetic_weather import CLIMATES
from rlkit_envs.data_center.weather import STEPS_PER_DAY

POLICIES = (
    "fixed 20",
    "fixed 23",
    "fixed 27",
    "outdoor reset",
    "trim and respond",
    "PID",
    "rule-based economiser",
)
"""Controllers of the simulator that can run a plant here."""


@dataclass(frozen=True)
class TelemetryConfig:
    """What is recorded. Raises ValueError for what does not fit."""

    climate: str = "mixed_humid"
    """Of the site: hot_dry, hot_humid, mixed_humid, marine, cold or very_cold."""
    unseen_climates: tuple[str, ...] = ("hot_humid", "hot_dry", "very_cold")
    """Of the hard negatives."""
    policies: tuple[str, ...] = ("PID", "outdoor reset")
    """Controllers that run the plant as ever, in equal shares: of fixed 20, fixed 23, fixed 27,
    outdoor reset, trim and respond, PID, and rule-based economiser, which holds 20 degC too."""
    changed_policies: tuple[str, ...] = ("trim and respond", "rule-based economiser", "fixed 23")
    """Those of the hard negatives: another algorithm, other set points, no free cooling."""
    loads: tuple[str, ...] = ("diurnal", "batch")
    """Of diurnal, batch, bursty and step."""
    years: int = 4
    """Years of weather, and of each kind of load, that each role draws from, 1 or more. No role has
    another's."""
    normal: int = 40
    """Series of that role, 0 or more."""
    held_out: int = 16
    """Series of that role, 0 or more."""
    faults_of_each: int = 4
    """Test series for each kind and severity of fault, 0 or more."""
    unseen_weather: int = 12
    """Series of that role, 0 or more."""
    changed_policy: int = 12
    """Series of that role, 0 or more."""
    days: float = 7.0
    """Length of each series without a fault, above 0, at most 364."""
    test_days: float = 14.0
    """Length of each series with one."""
    onset_days: tuple[float, float] = (3.0, 6.0)
    """When a fault begins, from the series' beginning; drawn evenly."""
    duration_days: tuple[float, float] = (5.0, 7.0)
    """After which time it is repaired; drawn evenly. What grows does so evenly in half of the
    least, much sooner than the weeks that dirt takes at a site, and stays."""
    with_faults: bool = True
    """False leaves the faults out, and everything else as it would be, noise included: the
    difference of two recordings is what the faults do."""
    noise: float = 1.0
    """Times the sensors' standard deviations, 0 to 10."""
    seed: int = 0
    """Determines everything, bit for bit; 0 or more."""

    def __post_init__(self) -> None:
        for name in ("unseen_climates", "policies", "changed_policies", "loads"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if not getattr(self, name):
                raise ValueError(f"{name} is empty: name one or more")
        for name, known in (
            ("unseen_climates", CLIMATES),
            ("policies", POLICIES),
            ("changed_policies", POLICIES),
            ("loads", LOADS),
        ):
            _check_known(name, getattr(self, name), known)
        _check_known("climate", (self.climate,), CLIMATES)
        for name, seen in (
            ("unseen_climates", (self.climate,)),
            ("changed_policies", self.policies),
        ):
            again = sorted(set(getattr(self, name)) & set(seen))
            if again:
                raise ValueError(f"{name} holds {again[0]!r}, which the normal series have too")
        for name, least in (
            ("years", 1),
            ("normal", 0),
            ("held_out", 0),
            ("faults_of_each", 0),
            ("unseen_weather", 0),
            ("changed_policy", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} is {value!r}: a whole number from {least} on would fit")
        for name in ("days", "test_days"):
            value = getattr(self, name)
            if not 1.0 / STEPS_PER_DAY <= value <= 364.0:
                raise ValueError(f"{name} is {value!r}: 0.01 to 364 would fit")
        for name, least in (("onset_days", 0.0), ("duration_days", 1.0 / STEPS_PER_DAY)):
            pair = tuple(getattr(self, name))
            object.__setattr__(self, name, pair)
            if len(pair) != 2 or not least <= pair[0] <= pair[1]:
                raise ValueError(f"{name} is {pair}: two numbers that rise would fit")
        latest = self.onset_days[1] + self.duration_days[1]
        if latest > self.test_days:
            raise ValueError(
                f"a fault may last until day {latest:g}, beyond test_days {self.test_days:g}: "
                "shorten onset_days or duration_days, or lengthen test_days"
            )
        self.environment()  # finds out whether the noise can be

    @property
    def counts(self) -> dict[str, int]:
        """Series of each role."""
        return {
            "normal": self.normal,
            "held_out": self.held_out,
            "test": len(KINDS) * len(SEVERITIES) * self.faults_of_each,
            "unseen_weather": self.unseen_weather,
            "changed_policy": self.changed_policy,
        }

    def environment(self) -> DataCenterConfig:
        """The plant, one megawatt with chiller, tower and plate exchanger, without faults."""
        return DataCenterConfig(
            load=self.loads,
            sensors=SensorSettings(noise=self.noise, forecast_hours=()),
            pairing="in_turn",
        )


def _check_known(name: str, given: Sequence[str], known: Collection[str]) -> None:
    for each in given:
        if each not in known:
            raise ValueError(f"{name} holds {each!r}: there are {', '.join(known)}")
