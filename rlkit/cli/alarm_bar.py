"""How the training of a generator goes: its epochs, and its alarms as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from rlkit.cli.epoch_bar import EpochBar

if TYPE_CHECKING:
    from rlkit.gan.monitoring import EpochRecord


class AlarmBar(EpochBar):
    """Shows epochs, and what goes wrong as soon as it does."""

    def __init__(self, console: Console, epochs: int) -> None:
        """epochs: how many there are at most."""
        super().__init__(console, epochs)
        self._known: set[str] = set()

    def __enter__(self) -> AlarmBar:
        super().__enter__()
        return self

    def __call__(self, record: EpochRecord, generator: object) -> None:
        """Show an epoch, and those of its alarms that the last one did not have."""
        loss = record.generator_loss
        self.show(
            record.epoch,
            f"losses {record.discriminator_loss:.3g} and {'-' if loss is None else f'{loss:.3g}'},"
            f" told right {record.accuracy_real:.0%} real, {record.accuracy_fake:.0%} generated,"
            f" spread {record.spread:.2f}",
        )
        # Percentages and advice come after the colon, and change while the matter stays.
        alarms = {alarm.split(":")[0]: alarm for alarm in record.alarms}
        for matter in alarms.keys() - self._known:
            line = f"epoch {record.epoch}: {alarms[matter]}"
            self._console.print(line, style="yellow", highlight=False, soft_wrap=True)
        self._known = set(alarms)
