"""Which runs one process may train at once, as the lanes of a pack, and which need as much memory."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b

from tui_datasize.experiments.architectures import MODELS, all_options
from tui_datasize.experiments.schedule import ScheduleSpec
from tui_datasize.experiments.spec import (
    Budget,
    LabelNoise,
    ModelSpec,
    OptimizerSpec,
    RunSpec,
    Stopping,
    SubsetSpec,
)

_COUPLED_BATCHES = frozenset({"resnet"})
"""Models with batch normalisation: what they say of one image depends on the others of its batch."""


def pack_key(spec: RunSpec) -> str:
    """What runs must have in common to be trained as one pack; empty where a run is trained alone.

    Everything that decides which kernels an update runs is in it: data set and classes, model,
    batch size, optimiser, precision, augmentation, loss, and whether weights are averaged or
    frozen. Free are the seeds, the subset, its size and its labels, the numbers of the optimiser,
    the clip norm, the schedule, the budget and the evaluations. Models with batch normalisation are
    packed at equal size, validation and budget alone.

    Models of torchvision are trained alone: they are large enough to fill a device, and some of
    them use one random layer twice in a pass. So are runs that learn without labels, or from images without
    labels too, whose batches are several times as large, or from generated ones, which each makes for itself;
    those that train anew on all their images: that begins at an update of their own; and models with batch
    normalisation that may end early.
    """
    is_coupled = spec.model.name in _COUPLED_BATCHES
    learns_beside = spec.unlabelled.method != "none" or spec.synthetic.is_on
    is_alone = spec.imported or spec.refit or learns_beside or not spec.task.has_labels
    if is_alone or spec.model.name not in MODELS or (is_coupled and spec.stop.patience):
        return ""
    return f"{spec.model.name}-{_digest(spec, has_free_length=not is_coupled)}"


def memory_key(spec: RunSpec) -> str:
    """What decides the memory of a run on a GPU but for its training images: runs that share it need as much.

    All that `pack_key` has in it, whatever the model; image size, crop, precision and batch size are, and
    what is learned from beside the subset. Where that is what the subset leaves out, or generated images, its
    size is, too: it decides how many of these may lie on the device.
    """
    digest = _digest(spec, has_free_length=not (spec.unlabelled.is_rest or spec.synthetic.is_on))
    return f"{spec.dataset} {spec.model.name} b{spec.batch_size} {digest}"


def _digest(spec: RunSpec, *, has_free_length: bool) -> str:
    # What a field means is not asked for here: one that is added later keeps runs apart.
    name = spec.model.name
    shared = replace(
        spec,
        experiment="",
        seed=0,
        model=ModelSpec(name, all_options(spec.model)) if name in MODELS else spec.model,
        train_size=1 if has_free_length else spec.train_size,
        budget=Budget("updates", 1) if has_free_length else spec.budget,
        subset=SubsetSpec(),
        optimizer=OptimizerSpec(spec.optimizer.name),
        clip_grad_norm=None,
        evaluations=1,
        validation=0.0 if has_free_length else spec.validation,
        stop=Stopping(),
        label_noise=LabelNoise(),
        schedule=ScheduleSpec(),
        ema_decay=None if spec.ema_decay is None else 0.5,
        transfer=replace(spec.transfer, source="") if spec.transfer else None,
    )
    canonical = json.dumps(shared.to_dict(), sort_keys=True)
    return blake2b(canonical.encode(), digest_size=8).hexdigest()
