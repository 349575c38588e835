"""What holds for the scheduler at one moment, and where each setting of the devices comes from. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings, shown, written
from tui_datasize.experiments.keys import rows

FILE = "experiments.toml"


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """One setting of the devices."""

    name: str
    """As in `[devices]`."""
    value: str
    """As it would stand there."""
    source: str
    """Where it comes from, in a few words."""


@dataclass(frozen=True, slots=True)
class SchedulerLook:
    """A project's scheduler, or the next one where none runs."""

    alive: bool
    stopped: bool = False
    """Whether somebody asked it to end, and nobody for another since."""
    slots: int | None = None
    """Jobs that the devices take at once now; None where none runs that has told it."""
    options: DeviceOptions | None = field(default_factory=DeviceOptions)
    """What it was, or will be, started with; None where one runs that does not tell."""
    devices: DeviceSettings | None = field(default_factory=DeviceSettings)
    """What holds, the file included; None as before."""
    file: DeviceSettings = field(default_factory=DeviceSettings)
    """What the project's file says, or the defaults where it is wrong."""
    file_problem: str = ""
    """What is wrong with the file; empty where nothing is."""

    def in_force(self) -> list[SettingInForce]:
        """Every setting that holds, in the order of the file's documentation; empty where it is not told."""
        return list(self._settings())

    def otherwise(self, name: str) -> str:
        """What holds where no option says anything of a setting: the file's word, or the default.

        >>> SchedulerLook(alive=False).otherwise("packs")
        'auto by default'
        """
        if name in self.file.said.said:
            return f"{written(self.file.said.said[name])} in {FILE}"
        return f"{_shown(self.file, name)} by default"

    def _settings(self) -> Iterator[SettingInForce]:
        options, devices = self.options, self.devices
        if options is None or devices is None:
            return
        expected = options.over(self.file)
        for name in (row.name for row in rows(DeviceSettings)):
            value = getattr(devices, name)
            if name in options.said:
                source = "option of the scheduler"
            elif self.file_problem:
                source = f"{FILE} before it was wrong, or default"
            elif value != getattr(expected, name):
                # Only `cold` stays so; the others follow within two seconds.
                source = f"start of the scheduler; a restart takes {self.otherwise(name)}"
            elif value != getattr(self.file, name):
                # Only the most jobs are raised, so that they are not fewer than the slots.
                source = "as slots_per_gpu"
            else:
                source = FILE if name in self.file.said.said else "default"
            yield SettingInForce(name, _shown(devices, name), source)


def _shown(devices: DeviceSettings, name: str) -> str:
    row = next(row for row in rows(DeviceSettings) if row.name == name)
    return shown(row, getattr(devices, name))
