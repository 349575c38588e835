"""`checkpoint.pt`: all that a resuming worker needs, whole or not there."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_datasize.runlog.atomic import write_bytes

FORMAT = 1
_TRIED_BYTES = 2**23
"""Enough to be more than the wait for a disk, and little of a checkpoint that takes long."""


class CheckpointUnfit(Exception):  # noqa: N818 - an orderly answer: start over
    """The checkpoint cannot continue this run; its text says why."""


def save(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint by tensors, numbers, strings, and lists and dictionaries of these.

    `identity` is what must be equal for the state to fit: run, data, device.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "identity": dict(identity), "state": _owning(state)}, buffer)
    write_bytes(path, buffer.getvalue())


def expected_s(path: Path, state: Mapping[str, Any], clock: Callable[[], float]) -> float:
    """Seconds that it takes to save a state there, by those that a part took now, which are counted in.

    0 where it is so small that nothing is tried. Raises OSError: the disk does not take the part.
    """
    size = sum(tensor.nbytes for tensor in _tensors(state))
    if size <= _TRIED_BYTES:
        return 0.0
    begun_s = clock()
    # By this name it goes with what is left of torn checkpoints.
    trial = path.with_name(f".{path.name}.trial.tmp")
    try:
        save(trial, {}, {"part": list(_first_bytes(state, _TRIED_BYTES))})
    finally:
        trial.unlink(missing_ok=True)
    return (clock() - begun_s) * (1 + size / _TRIED_BYTES)


def load(path: Path, identity: Mapping[str, str]) -> dict[str, Any] | None:
    """The state that was saved, its tensors on the CPU; None where there is no checkpoint.

    Raises CheckpointUnfit: it is damaged, or of another format, run, data set or kind of device.
    """
    if not path.is_file():
        return None
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
        saved_format, saved_identity, state = (document[key] for key in ("format", "identity", "state"))
    # Damage shows as whatever the archive or pickle parser raises.
    except Exception as error:
        raise CheckpointUnfit(f"it cannot be read ({type(error).__name__})") from error
    if saved_format != FORMAT:
        raise CheckpointUnfit(f"it has format {saved_format}, this version reads {FORMAT}")
    for key, expected in identity.items():
        if saved_identity.get(key) != expected:
            raise CheckpointUnfit(f"it is of {key} {saved_identity.get(key)}, this is {expected}")
    loaded: dict[str, Any] = state
    return loaded


def _owning(value: Any) -> Any:
    """The same state, where each part of a larger tensor is a copy: torch would save the whole of it."""
    if isinstance(value, Mapping):
        return {key: _owning(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_owning(inner) for inner in value)
    if isinstance(value, Tensor) and value.untyped_storage().nbytes() > value.nbytes:
        return value.clone(memory_format=torch.preserve_format)
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    """All that a state holds."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(inner)


def _first_bytes(state: Mapping[str, Any], size: int) -> Iterator[Tensor]:
    """So many of the tensors of a state, as flat ones."""
    for tensor in _tensors(state):
        if size < tensor.element_size():
            return
        part = tensor.flatten()[: size // tensor.element_size()]
        size -= part.nbytes
        yield part
