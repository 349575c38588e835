"""What sets the runs of a swept experiment apart beside size, draw and seed, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from tui_datasize.experiments.spec import RunSpec
from tui_datasize.jobs.client import QueueClient


def read_variants(client: QueueClient) -> Mapping[str, str]:
    """The labels of `label_variants` by run id."""
    labels = label_variants(client.shapes())
    return {run_id: labels[number] for run_id, number in client.runs_of_shapes(labels.keys()).items()}


def label_variants(shapes: Mapping[int, RunSpec]) -> Mapping[int, str]:
    """Labels such as `optimizer.lr=0.001` by number; runs of experiments that sweep nothing have none."""
    by_experiment: dict[str, dict[int, RunSpec]] = defaultdict(dict)
    for number, spec in shapes.items():
        by_experiment[spec.experiment][number] = spec
    labels: dict[int, str] = {}
    for alike in by_experiment.values():
        if len({replace(spec, train_size=0) for spec in alike.values()}) > 1:
            labels |= _label(alike)
    return labels


def _label(shapes: Mapping[int, RunSpec]) -> dict[int, str]:
    # Takes a while to import, and most queues sweep nothing but sizes and seeds.
    from tui_datasize.experiments.variants import variant_labels

    labels = variant_labels(list(shapes.values()))
    return {number: label for number, spec in shapes.items() if (label := labels.get(spec.run_id))}
