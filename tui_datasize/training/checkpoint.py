"""`checkpoint.pt`: all that a resuming worker needs, whole or not there."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tui_datasize.runlog.atomic import write_bytes

FORMAT = 1
_BYTES_PER_S = 2**27
"""As many as a plain disk takes: to try what this one takes costs as much as to save."""


class CheckpointUnfit(Exception):  # noqa: N818 - an orderly answer: start over
    """The checkpoint cannot continue this run; its text says why."""


def save(path: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Replace the checkpoint by tensors, numbers, strings, and lists and dictionaries of these.

    `identity` is what must be equal for the state to fit: run, data, device.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "identity": dict(identity), "state": _owning(state)}, buffer)
    write_bytes(path, buffer.getvalue())


def expected_s(state: Mapping[str, Any]) -> float:
    """Seconds that it may take to save a state, before any was saved: by its bytes.

    >>> expected_s({"model": {"weight": torch.zeros(2**22)}, "moments": [torch.zeros(2**22), 7]})
    0.25
    """
    return _bytes(state) / _BYTES_PER_S


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


def _bytes(value: Any) -> int:
    """Of all tensors in a state."""
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_bytes, value))
    return value.nbytes if isinstance(value, Tensor) else 0
