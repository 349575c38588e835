"""`spec.json` as it was queued, and `provenance.json`: where and how a run was computed.

What the disk does not take is an `OSError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from tui_datasize.errors import StorageError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.files import known_object, read_object
from tui_datasize.runlog.atomic import write_json
from tui_datasize.runlog.paths import RunPaths


def read_spec(paths: RunPaths) -> RunSpec:
    """The specification that was queued; raises StorageError: `spec.json` is damaged."""
    try:
        return RunSpec.from_dict(read_object(paths.spec)["spec"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"not the specification of a run ({error!r})", where=str(paths.spec), fix="queue the run again"
        ) from error


Implementation: TypeAlias = Literal["alone", "side by side", "fused"]
"""How the updates of a run are computed: by itself, or as one of several lanes of a process."""

_HISTORY: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {"pack_widths": (1,), "pack_implementations": ("alone",)}
)
"""What runs did whose records do not tell it."""


def add(paths: RunPaths, facts: Mapping[str, Any]) -> None:
    """Add to what is recorded."""
    write_json(paths.provenance, known_object(paths.provenance) | dict(facts))


def pack_history(paths: RunPaths) -> dict[str, Any]:
    """How the updates so far of a run that is resumed were computed."""
    earlier = known_object(paths.provenance)
    return {key: list(earlier.get(key, default)) for key, default in _HISTORY.items()}


def add_pack(paths: RunPaths, width: int, implementation: Implementation) -> None:
    """Record how many lanes this run is one of, and how they are computed.

    `pack_width` and `pack_implementation` tell it of the updates that follow, the lists
    `pack_widths` and `pack_implementations` of all updates, in the order of the changes.
    """
    recorded = known_object(paths.provenance)
    widths, implementations = (list(recorded.get(key, [])) for key in _HISTORY)
    if not widths or (widths[-1], implementations[-1]) != (width, implementation):
        widths.append(width)
        implementations.append(implementation)
    add(
        paths,
        {
            "pack_width": width,
            "pack_implementation": implementation,
            "pack_widths": widths,
            "pack_implementations": implementations,
        },
    )
