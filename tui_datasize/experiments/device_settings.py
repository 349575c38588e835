"""`[devices]` of `experiments.toml`, and options over it: how many jobs the machine takes at once.

A setting that is unknown, or not what was expected, is a `ConfigError` that names it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.keys import Row, key, rows
from tui_datasize.experiments.settings import Setting, read_setting
from tui_datasize.experiments.toml import Problems, TomlTable

Packs: TypeAlias = Literal["off", "auto", "always"]
"""Where one worker may train several runs at once: nowhere, on GPUs, or on the CPU as well."""

IMAGES_SHARE = 0.5
"""Of a device's free memory: images that take more stay in their file, so that the model has the rest."""

MOST_SLOTS = 64
"""More jobs than this on one GPU are a slip of the finger."""
_SLOTS = {"at_least": 1, "at_most": MOST_SLOTS}

FOR_GPUS, FOR_CPU = "GPUs", "the CPU"
_SWITCHES: Mapping[str, bool] = {"yes": True, "true": True, "no": False, "false": False}


@dataclass(frozen=True, init=False)
class DeviceOptions:
    """What is said of the devices in one place, by the names of `[devices]`; None says nothing."""

    said: Mapping[str, Any]

    def __init__(self, **said: Setting | None) -> None:
        names = [row.name for row in rows(DeviceSettings)]
        if unknown := said.keys() - set(names):
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        given = {name: value for name in names if (value := said.get(name)) is not None}
        object.__setattr__(self, "said", given)

    @classmethod
    def of(cls, holder: object) -> DeviceOptions:
        """What something says that has attributes of these names, such as the arguments of a command."""
        return cls(**{row.name: getattr(holder, row.name) for row in rows(DeviceSettings)})

    def arguments(self) -> list[str]:
        """The same on a command line.

        >>> DeviceOptions(cpu_slots=2, cold=False).arguments()
        ['--cpu-slots', '2', '--no-cold']
        """
        words: list[str] = []
        for name, value in self.said.items():
            option = name.replace("_", "-")
            words += [f"--{option}" if value else f"--no-{option}"]
            words += [] if isinstance(value, bool) else [str(value)]
        return words

    def describe(self) -> str:
        """The same for a person.

        >>> DeviceOptions(cpu_slots=2, cold=False).describe()
        'cpu_slots 2, cold false'
        """
        return ", ".join(f"{name} {as_in_file(value)}" for name, value in self.said.items())

    def over(self, devices: DeviceSettings) -> DeviceSettings:
        """What holds where this wins over the project's file."""
        over = replace(devices, **self.said)
        # The file's limit gives way to an option that asks for more slots.
        most = self.said.get("max_jobs_per_gpu") or max(devices.max_jobs_per_gpu or 0, over.slots_per_gpu)
        return replace(over, max_jobs_per_gpu=most)

    def check(self, devices: DeviceSettings) -> None:
        """Refuse what would contradict itself together with the project's file.

        Raises ConfigError: a GPU would take fewer jobs than it has slots.
        """
        over = self.over(devices)
        if (over.max_jobs_per_gpu or over.slots_per_gpu) < over.slots_per_gpu:
            expected = f"expected {_at_least(over.slots_per_gpu)}, got {over.max_jobs_per_gpu}"
            raise ConfigError(expected, where="max_jobs_per_gpu")


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """`[devices]`: how many jobs this machine takes at once, and how workers start."""

    slots_per_gpu: int = key(
        1, "jobs at once on a GPU, as far as its memory allows", only_for=(FOR_GPUS,), **_SLOTS
    )
    max_jobs_per_gpu: int | None = key(
        None,
        "the same, jobs of others included",
        only_for=(FOR_GPUS,),
        unset="as slots_per_gpu",
        hint="jobs of others count",
        **_SLOTS,
    )
    cpu_slots: int | None = key(
        None,
        "jobs at once on the CPU, where it takes them",
        only_for=(FOR_CPU,),
        unset="one per core",
        **_SLOTS,
    )
    cpu: bool = key(
        False,
        "jobs on the CPU while no GPU of the machine can take them, or never; a machine that never had a GPU "
        "needs no such option",
        only_for=(FOR_CPU,),
        hint="true: while no GPU can",
    )
    packs: Packs = key(
        "auto",
        "where one process, which takes one slot, trains several runs that are alike: nowhere, on GPUs, or "
        "on the CPU too",
        hint="off, auto or always",
    )
    pack_width: int = key(8, "most runs that one process trains", hint="most in one process", **_SLOTS)
    cold: bool = key(
        False,
        "start every worker as a new process, or fork them from a warm one",
        hint="true: no warm processes",
    )
    said: DeviceOptions = field(default_factory=DeviceOptions, compare=False)
    """What the table itself says; the rest are defaults."""

    def describe(self) -> str:
        """One line for a person.

        >>> DeviceSettings(cpu_slots=1, packs="off").describe().replace("pack_width 8, cold false", "...")
        'slots_per_gpu 1, max_jobs_per_gpu as slots_per_gpu, cpu_slots 1, cpu false, packs off, ...'
        """
        return ", ".join(f"{row.name} {shown(row, getattr(self, row.name))}" for row in rows(DeviceSettings))


def read_device_settings(table: TomlTable) -> DeviceSettings:
    """Read `[devices]`."""
    problems = Problems()
    options: DeviceOptions = problems.of(lambda: read_options(table), DeviceOptions())
    with problems.part():
        table.finish()
    settings = replace(DeviceSettings(), **options.said, said=options)
    most = settings.max_jobs_per_gpu
    with problems.part():
        if most is not None and most < settings.slots_per_gpu:
            raise table.error("max_jobs_per_gpu", _at_least(settings.slots_per_gpu))
    problems.raise_all()
    return settings


def read_options(table: TomlTable) -> DeviceOptions:
    """Read what a table says of the devices, whatever else it holds."""
    problems = Problems()
    said = {}
    for row in rows(DeviceSettings):
        with problems.part():
            if table.has(row.name):
                said[row.name] = read_setting(row, table)
    problems.raise_all()
    return DeviceOptions(**said)


def add_device_options(command: argparse._ActionsContainer) -> None:
    """Add an option for each setting."""
    for row in rows(DeviceSettings):
        details: dict[str, Any] = {"type": _reader(row), "metavar": "N"}
        if row.kind is bool:
            details = {"action": argparse.BooleanOptionalAction}
        elif row.choices:
            details = {"choices": row.choices}
        command.add_argument(f"--{row.name.replace('_', '-')}", help=row.key.meaning, **details)


def _reader(row: Row) -> Callable[[str], Setting]:
    def read(text: str) -> Setting:
        try:
            return read_setting(row, TomlTable({row.name: _value(text)}, ""))
        except ConfigError as error:
            raise argparse.ArgumentTypeError(error.what) from None

    return read


def read_written(texts: Mapping[str, str], devices: DeviceSettings) -> DeviceOptions:
    """Read options as a person has written them, by the names of `[devices]`; an empty text says nothing.

    >>> read_written({"cpu_slots": "2", "packs": "", "cold": "no"}, DeviceSettings()).describe()
    'cpu_slots 2, cold false'
    """
    stripped = {name: text.strip() for name, text in texts.items()}
    options = read_options(TomlTable({name: _value(text) for name, text in stripped.items() if text}, ""))
    options.check(devices)
    return options


def as_in_file(value: Setting | float) -> str:
    """A value as it stands in the file, quotes aside."""
    return str(value).lower()


def shown(row: Row, value: Setting | None) -> str:
    """A value for a person, who also wants to know what none means."""
    return row.key.unset if value is None else as_in_file(value)


def _value(text: str) -> Setting:
    try:
        return int(text)
    except ValueError:
        return _SWITCHES.get(text.lower(), text)


def _at_least(slots_per_gpu: int) -> str:
    return f"at least slots_per_gpu, which is {slots_per_gpu}"
