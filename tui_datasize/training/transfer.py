"""Weights of a finished run as the first layers of another, trained further or frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tui_datasize.errors import DataError
from tui_datasize.experiments.architectures import all_options
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.pretext import IN_WORDS
from tui_datasize.experiments.spec import ModelSpec, RunSpec, Transfer
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import checkpoint
from tui_datasize.training.models.parts import Layers, weight_layers
from tui_datasize.training.provenance import read_spec

_BESIDE_THE_LAYERS = frozenset({"dropout", "initialisation", "weights"})
"""Options that two models may differ in and still be made of the same layers."""


@dataclass(frozen=True, slots=True)
class SourceWeights:
    """What a run takes over: the last weights of its source, and how many layers of them."""

    transfer: Transfer
    values: Mapping[str, Tensor]
    """Parameters and running statistics by their names in the model, on the CPU."""
    where: str
    """The checkpoint they come from, for errors."""


def read_source(paths: RunPaths, spec: RunSpec) -> SourceWeights | None:
    """Read the weights that a run takes over; None for a run that starts from scratch.

    They are those that the source was evaluated with at its end: the averaged ones where it
    averaged its weights.

    Raises DataError: the source is not in the project, is not finished, has lost its checkpoint, is of
        another architecture, or learned something else than is said.
    Raises StorageError: the source's `spec.json` is damaged.
    """
    if spec.transfer is None:
        return None
    source = other_run(paths, spec.transfer.source)
    source_spec = read_spec(source)
    if _layer_options(source_spec.model) != _layer_options(spec.model):
        raise DataError(
            f"weights of {source_spec.model} do not fit {spec.model}",
            where=str(source.spec),
            fix="take them from a run of the same model",
        )
    if source_spec.task.name != spec.transfer.task:
        raise DataError(
            f"{source.run_id} has learned {IN_WORDS[source_spec.task.name]}",
            where=str(source.spec),
            fix="name its experiment with from, not its id",
        )
    return SourceWeights(spec.transfer, read_weights(paths, source_spec), str(source.checkpoint))


def read_weights(paths: RunPaths, source_spec: RunSpec, fingerprint: str = "") -> Mapping[str, Tensor]:
    """The weights that a finished run, which this one takes over from, was evaluated with at its end.

    On the CPU.

    Raises DataError: it is not finished, has lost its checkpoint, or is of data of another `fingerprint`.
    """
    source = other_run(paths, source_spec.run_id)
    state = _load(paths, source, {"data": fingerprint} if fingerprint else {})
    trainer, first = state["trainer"], (state.get("first") or [0])[0]
    # Missing in checkpoints made before runs could end otherwise than by their budget.
    made, updates = first + trainer["update"], state.get("updates", total_updates(source_spec))
    if made != updates:
        raise DataError(
            f"the source is at update {made} of {updates}",
            where=str(source.checkpoint),
            fix=f"let {source.run_id} finish first",
        )
    weights: Mapping[str, Tensor] = trainer.get("ema") or trainer["model"]
    return weights


def take_over(model: nn.Module, source: SourceWeights) -> None:
    """Fill a model's first layers, and freeze them where the transfer says so.

    Frozen parameters need no gradient; frozen batch normalisations keep their running statistics
    and normalise by them in training too. The classifier is never taken.

    Raises DataError: the model has too few layers, or the source's are of other shapes.
    """
    layers = weight_layers(model)
    most = len(layers) - 1
    count = most if source.transfer.layers is None else source.transfer.layers
    if count > most:
        raise DataError(
            f"cannot take over {count} layers: the model has {len(layers)}, and its classifier is always new",
            fix=f"set layers of transfer to at most {most}",
        )
    taken = layers[:count]
    _copy(model, taken, source)
    if source.transfer.freeze:
        for _, module in (named for layer in taken for named in layer):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                # Each call of `train` on the whole model would wake it again.
                module.register_forward_pre_hook(_stay_still)


def other_run(paths: RunPaths, run_id: str) -> RunPaths:
    """The directory of another run of the project; raises DataError: there is none."""
    # Not by the name of the directory: on a cluster it may be any that all nodes see.
    runs = paths.directory.parents[1]
    directory = next(runs.glob(f"[!.]*/{run_id}"), None)
    if directory is None:
        raise DataError(
            f"the source run {run_id} is not in this project", where=str(runs), fix=trained_again(paths)
        )
    return RunPaths(directory)


def trained_again(paths: RunPaths) -> str:
    """What to type where a run cannot be trained for want of what its source has left."""
    return f"`datasize-tui retry {paths.run_id}` trains the source again first"


def _load(paths: RunPaths, source: RunPaths, data: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        state = checkpoint.load(source.checkpoint, {"run": source.run_id, **data})
    except checkpoint.CheckpointUnfit as unfit:
        raise DataError(
            f"the source's checkpoint does not fit: {unfit}",
            where=str(source.checkpoint),
            fix=f"delete it; {trained_again(paths)}",
        ) from unfit
    if state is None:
        raise DataError(
            "the source run has no checkpoint: not trained yet, or pruned",
            where=str(source.directory),
            fix=trained_again(paths),
        )
    return state


def _layer_options(model: ModelSpec) -> dict[str, object]:
    options = {key: value for key, value in all_options(model).items() if key not in _BESIDE_THE_LAYERS}
    return {"name": model.name, **options}


def _copy(model: nn.Module, layers: Layers, source: SourceWeights) -> None:
    names = {name for layer in layers for name, _ in layer}
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if key.rpartition(".")[0] not in names:
                continue
            taken = source.values.get(key)
            if taken is None or taken.shape != value.shape:
                found = "is missing" if taken is None else f"has shape {tuple(taken.shape)}"
                raise DataError(
                    f"the source has another architecture: {key} {found}, expected {tuple(value.shape)}",
                    where=source.where,
                    fix="take the weights from a run of the same model on images of the same size",
                )
            value.copy_(taken)


def _stay_still(module: nn.Module, _inputs: object) -> None:
    module.eval()
