"""What sets the runs of a swept experiment apart beside size, draw and seed, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from tui_datasize.experiments.spec import RunSpec


def label_variants(specs: Mapping[str, RunSpec]) -> Mapping[str, str]:
    """Labels such as `optimizer.lr=0.001` by run id; runs of experiments that sweep nothing have none.

    Args:
        specs: By run id, one object for all runs that are alike but for seeds and draw.
    """
    shapes = {id(spec): spec for spec in specs.values()}
    by_experiment: dict[str, list[RunSpec]] = defaultdict(list)
    for spec in shapes.values():
        by_experiment[spec.experiment].append(spec)
    labels: dict[int, str] = {}
    for alike in by_experiment.values():
        if len({replace(spec, train_size=0) for spec in alike}) > 1:
            labels |= _label(alike)
    return {run_id: label for run_id, spec in specs.items() if (label := labels.get(id(spec)))}


def _label(specs: list[RunSpec]) -> dict[int, str]:
    # Takes a while to import, and most queues sweep nothing but sizes and seeds.
    from tui_datasize.experiments.sweep import variant_labels

    labels = variant_labels(specs)
    return {id(spec): labels[spec.run_id] for spec in specs}
