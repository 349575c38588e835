"""`[devices]` of `experiments.toml`: how many jobs the machine takes at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tui_datasize.experiments.toml_table import Table

Packs: TypeAlias = Literal["off", "auto", "always"]
"""Where one worker may train several runs at once: nowhere, on GPUs, or on the CPU as well."""
PACKS: tuple[Packs, ...] = get_args(Packs)

MOST_SLOTS = 64
"""More jobs than this on one GPU are a slip of the finger."""


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """`[devices]`: how many jobs this machine takes at once, and how workers start."""

    slots_per_gpu: int = 1
    """Jobs of this queue at once on a GPU, as far as its memory allows."""
    max_jobs_per_gpu: int | None = None
    """Jobs at once on a GPU, those of others included; None for `slots_per_gpu`."""
    cpu_slots: int | None = None
    """Jobs at once on the CPU where there is no GPU; None for one per core."""
    cold: bool = False
    """Whether every worker starts as a new process, instead of being forked from a warm one."""
    packs: Packs = "auto"
    """Where runs that are alike share a worker, which takes one slot."""
    pack_width: int = 8
    """Most runs that share one."""


def read_devices(table: Table) -> DeviceSettings:
    """Read `[devices]`.

    Raises:
        ConfigError: A key is unknown, or a value is not what was expected.
    """
    settings = DeviceSettings(
        slots_per_gpu=_read_slots(table, "slots_per_gpu") or 1,
        max_jobs_per_gpu=_read_slots(table, "max_jobs_per_gpu"),
        cpu_slots=_read_slots(table, "cpu_slots"),
        cold=table.boolean("cold", False),
        packs=table.choice("packs", PACKS, "auto"),
        pack_width=_read_slots(table, "pack_width") or 8,
    )
    table.finish()
    most = settings.max_jobs_per_gpu
    if most is not None and most < settings.slots_per_gpu:
        raise table.error("max_jobs_per_gpu", f"at least slots_per_gpu, which is {settings.slots_per_gpu}")
    return settings


def _read_slots(table: Table, key: str) -> int | None:
    if not table.has(key):
        return None
    slots = table.integer(key, least=1)
    if slots > MOST_SLOTS:
        raise table.error(key, f"a whole number from 1 to {MOST_SLOTS}")
    return slots
