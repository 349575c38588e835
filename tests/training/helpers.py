"""Small runs, and how to look at what they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
from torch import Tensor

from tests.fakes import fake_spec
from tui_datasize.experiments.spec import SCHEMA_VERSION, Budget, ModelSpec, OptimizerSpec, RunSpec
from tui_datasize.runlog import schema
from tui_datasize.runlog.paths import ProjectPaths, RunPaths
from tui_datasize.training.prepare import Shared, prepare
from tui_datasize.training.session import Session
from tui_datasize.training.stop import StopRequest, StopRequested

Rows: TypeAlias = list[dict[str, Any]]


def small_spec(**changes: Any) -> RunSpec:
    """Forty updates of a small network on 50 digits, evaluated five times."""
    values: dict[str, Any] = {
        "model": ModelSpec("mlp", {"hidden": 16, "dropout": 0.25}),
        "train_size": 50,
        "seed": 7,
        "budget": Budget("updates", 40),
        "batch_size": 16,
        "evaluations": 5,
        "optimizer": OptimizerSpec(lr=3e-3, weight_decay=0.01),
        "clip_grad_norm": 1.0,
    }
    return fake_spec(**(values | changes))


def write_queued(project: Path, spec: RunSpec) -> RunPaths:
    """Write the directory of a queued run."""
    paths = ProjectPaths(project).run(spec.experiment, spec.run_id)
    paths.directory.mkdir(parents=True)
    document = {"schema_version": SCHEMA_VERSION, "run_id": spec.run_id, "spec": spec.to_dict()}
    paths.spec.write_text(json.dumps(document), encoding="utf-8")
    return paths


def read_rows(paths: RunPaths) -> Rows:
    """The rows of a run that count: none that a later resumption made void."""
    rows: Rows = []
    for line in paths.metrics.read_bytes().splitlines():
        row = json.loads(line)
        if row["event"] == "resume":
            rows = [earlier for earlier in rows if earlier["update"] <= row["update"]]
        else:
            rows.append(row)
    return rows


def train(paths: RunPaths) -> Session:
    """Train a run to its end in this process."""
    session = prepare(paths, 1, Shared(), print)
    session.run(StopRequest())
    return session


def train_until(paths: RunPaths, update: int) -> None:
    """Train until a request to leave comes in the middle of the given update."""
    session, stop = prepare(paths, 1, Shared(), print), StopRequest()
    step = session.trainer.step

    def step_and_ask() -> None:
        step()
        stop.requested = session.trainer.update == update

    session.trainer.step = step_and_ask  # type: ignore[method-assign]
    with pytest.raises(StopRequested):
        session.run(stop)


def evaluations(paths: RunPaths) -> Rows:
    """Evaluation rows without what two equal runs may differ in."""
    return [
        {key: value for key, value in row.items() if key not in schema.TIME_COLUMNS}
        for row in read_rows(paths)
        if row["event"] == "evaluation"
    ]


def weights(session: Session) -> Tensor:
    """All parameters as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in session.trainer.model.parameters()])
