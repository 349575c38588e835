"""Names of all files of a project and of a run directory; nothing else spells them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.files import is_utf8


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a run directory."""

    name: str

    def __get__(self, run: RunPaths, _class: type[RunPaths]) -> Path:
        return run.directory / self.name


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The files of one run directory, `runs/<experiment>/<run id>/`."""

    directory: Path

    spec = _File("spec.json")
    """The frozen specification, written when the run is queued."""
    provenance = _File("provenance.json")
    """Versions, device, host, data-set fingerprint, arguments."""
    dataset = _File("dataset.json")
    """Classes, images per class, normalisation, fingerprint."""
    metrics = _File("metrics.jsonl")
    """One JSON object a line, appended."""
    subset = _File("subset.parquet")
    """Index, label and hash of every training image used."""
    per_class = _File("per_class.parquet")
    """Accuracy per class, last and best evaluation."""
    confusion = _File("confusion.parquet")
    """Counts in long format, last and best evaluation."""
    predictions = _File("predictions.parquet")
    """Probabilities per test image, last and best evaluation."""
    checkpoint = _File("checkpoint.pt")
    """Everything a resuming worker needs."""
    best = _File("best.pt")
    """The weights with the highest test accuracy, once the run is trained to its end."""
    stdout = _File("stdout.log")
    stderr = _File("stderr.log")
    lock = _File("lock")
    """Flocked by the worker for as long as it lives."""
    claim = _File("claim.json")
    """Who executes which attempt."""
    exit = _File("exit.json")
    """How an attempt ended."""

    @property
    def run_id(self) -> str:
        return self.directory.name

    @property
    def experiment(self) -> str:
        return self.directory.parent.name

    @property
    def files(self) -> tuple[Path, ...]:
        return (
            *(self.spec, self.provenance, self.dataset, self.metrics, self.subset, self.per_class),
            *(self.confusion, self.predictions, self.checkpoint, self.best, self.stdout, self.stderr),
            *(self.lock, self.claim, self.exit),
        )


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The files of a project directory."""

    root: Path

    @property
    def experiments(self) -> Path:
        return self.root / "experiments.toml"

    @property
    def runs(self) -> Path:
        """One directory per experiment, one below it per run."""
        return self.root / "runs"

    @property
    def queue(self) -> Path:
        return self.runs / "queue.db"

    @property
    def scheduler_lock(self) -> Path:
        """Whoever holds it is the scheduler."""
        return self.runs / "scheduler.lock"

    @property
    def scheduler_log(self) -> Path:
        return self.runs / "scheduler.log"

    @property
    def cache(self) -> Path:
        """Compacted copies of finished runs; safe to delete."""
        return self.runs / ".cache"

    @property
    def device_history(self) -> Path:
        """What the devices did in the last minutes."""
        return self.cache / "devices.jsonl"

    def run(self, experiment: str, run_id: str) -> RunPaths:
        return RunPaths(self.runs / experiment / run_id)

    def all_runs(self) -> Iterator[RunPaths]:
        """Every run directory that holds a `spec.json`, in name order."""
        for spec in sorted(self.runs.glob("[!.]*/[!.]*/spec.json")):
            # Such a name is none of ours, and no database takes it.
            if is_utf8(f"{spec}"):
                yield RunPaths(spec.parent)

    def superseded(self, experiment: str) -> Path:
        """Where `--force` moves old run directories."""
        return self.runs / experiment / ".superseded"
