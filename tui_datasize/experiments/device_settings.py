"""`[devices]` of `experiments.toml`, and options over it: how many jobs the machine takes at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.toml import Table, is_whole

Packs: TypeAlias = Literal["off", "auto", "always"]
"""Where one worker may train several runs at once: nowhere, on GPUs, or on the CPU as well."""
PACKS: tuple[Packs, ...] = get_args(Packs)

IMAGES_SHARE = 0.5
"""Of a device's free memory: images that take more stay in their file, so that the model has the rest."""

MOST_SLOTS = 64
"""More jobs than this on one GPU are a slip of the finger."""

_SWITCHES = MappingProxyType({"yes": True, "true": True, "no": False, "false": False})


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """What is said of the devices in one place, such as a scheduler's options; None where it says nothing."""

    slots_per_gpu: int | None = None
    max_jobs_per_gpu: int | None = None
    cpu_slots: int | None = None
    cpu: bool | None = None
    packs: Packs | None = None
    pack_width: int | None = None
    cold: bool | None = None

    @classmethod
    def of(cls, holder: object) -> DeviceOptions:
        """What something says that has attributes of these names, such as the arguments of a command."""
        return cls(**{option.name: getattr(holder, option.name) for option in fields(cls)})

    def said(self) -> dict[str, Any]:
        """What it says, by the names of `[devices]`."""
        named = {option.name: getattr(self, option.name) for option in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def arguments(self) -> list[str]:
        """The same on a command line.

        >>> DeviceOptions(cpu_slots=2, cold=False).arguments()
        ['--cpu-slots', '2', '--no-cold']
        """
        words: list[str] = []
        for name, value in self.said().items():
            option = name.replace("_", "-")
            words += [f"--{option}" if value else f"--no-{option}"]
            words += [] if isinstance(value, bool) else [str(value)]
        return words

    def describe(self) -> str:
        """The same for a person.

        >>> DeviceOptions(cpu_slots=2, cold=False).describe()
        'cpu_slots 2, cold false'
        """
        return ", ".join(f"{name} {written(value)}" for name, value in self.said().items())

    def over(self, devices: DeviceSettings) -> DeviceSettings:
        """What holds where this wins over the project's file."""
        said = self.said()
        slots_per_gpu = self.slots_per_gpu or devices.slots_per_gpu
        # The file's limit gives way to an option that asks for more slots.
        most = self.max_jobs_per_gpu or max(devices.max_jobs_per_gpu or 0, slots_per_gpu)
        return replace(devices, **said | {"max_jobs_per_gpu": most})

    def check(self, devices: DeviceSettings) -> None:
        """Refuse what would contradict itself together with the project's file.

        Raises:
            ConfigError: A GPU would take fewer jobs than it has slots.
        """
        slots_per_gpu = self.slots_per_gpu or devices.slots_per_gpu
        if self.max_jobs_per_gpu is not None and self.max_jobs_per_gpu < slots_per_gpu:
            expected = f"expected {_at_least(slots_per_gpu)}, got {self.max_jobs_per_gpu}"
            raise ConfigError(expected, where="max_jobs_per_gpu")


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """`[devices]`: how many jobs this machine takes at once, and how workers start."""

    slots_per_gpu: int = 1
    """Jobs of this queue at once on a GPU, as far as its memory allows."""
    max_jobs_per_gpu: int | None = None
    """Jobs at once on a GPU, those of others included; None for `slots_per_gpu`."""
    cpu_slots: int | None = None
    """Jobs at once on the CPU where it takes them; None for one per core."""
    cpu: bool = False
    """Whether the CPU takes the jobs of a machine that has, or had, GPUs, while none of these can."""
    cold: bool = False
    """Whether every worker starts as a new process, instead of being forked from a warm one."""
    packs: Packs = "auto"
    """Where runs that are alike share a worker, which takes one slot."""
    pack_width: int = 8
    """Most runs that share one."""
    said: DeviceOptions = field(default_factory=DeviceOptions, compare=False)
    """What the table itself says; the rest are defaults."""


def read_devices(table: Table) -> DeviceSettings:
    """Read `[devices]`.

    Raises:
        ConfigError: A key is unknown, or a value is not what was expected.
    """
    said = read_options(table)
    table.finish()
    settings = replace(DeviceSettings(), **said.said(), said=said)
    most = settings.max_jobs_per_gpu
    if most is not None and most < settings.slots_per_gpu:
        raise table.error("max_jobs_per_gpu", _at_least(settings.slots_per_gpu))
    return settings


def read_options(table: Table) -> DeviceOptions:
    """Read what a table says of the devices, whatever else it holds.

    Raises:
        ConfigError: A value is not what was expected.
    """
    return DeviceOptions(
        slots_per_gpu=_read_slots(table, "slots_per_gpu"),
        max_jobs_per_gpu=_read_slots(table, "max_jobs_per_gpu"),
        cpu_slots=_read_slots(table, "cpu_slots"),
        packs=table.choice("packs", PACKS) if table.has("packs") else None,
        pack_width=_read_slots(table, "pack_width"),
        cpu=_read_switch(table, "cpu"),
        cold=_read_switch(table, "cold"),
    )


def read_written(texts: Mapping[str, str], devices: DeviceSettings) -> DeviceOptions:
    """Read options as a person has written them.

    >>> read_written({"cpu_slots": "2", "packs": "", "cold": "no"}, DeviceSettings()).describe()
    'cpu_slots 2, cold false'

    Args:
        texts: By the names of `[devices]`; an empty text says nothing.
        devices: What the project's file says beside them.

    Raises:
        ConfigError: A text is not what was expected, or they contradict each other or the file.
    """
    stripped = {name: text.strip() for name, text in texts.items()}
    options = read_options(Table({name: _value(text) for name, text in stripped.items() if text}, ""))
    options.check(devices)
    return options


def written(value: int | str | bool) -> str:
    """A value as it stands in the file, quotes aside."""
    return str(value).lower()


def _value(text: str) -> int | str | bool:
    try:
        return int(text)
    except ValueError:
        return _SWITCHES.get(text.lower(), text)


def _read_slots(table: Table, key: str) -> int | None:
    if not table.has(key):
        return None
    slots = table.take(key)
    if not is_whole(slots) or not 1 <= slots <= MOST_SLOTS:
        raise table.error(key, f"a whole number from 1 to {MOST_SLOTS}")
    return int(slots)


def _read_switch(table: Table, key: str) -> bool | None:
    return table.boolean(key, False) if table.has(key) else None


def _at_least(slots_per_gpu: int) -> str:
    return f"at least slots_per_gpu, which is {slots_per_gpu}"
