"""Names of all files of a project and of a run directory; nothing else spells them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.files import is_utf8


@dataclass(frozen=True, slots=True)
class RunPaths:
    """The files of one run directory, `runs/<experiment>/<run id>/`."""

    directory: Path

    @property
    def run_id(self) -> str:
        """The run's id: the name of its directory."""
        return self.directory.name

    @property
    def experiment(self) -> str:
        """The experiment's name: the directory above."""
        return self.directory.parent.name

    @property
    def spec(self) -> Path:
        """`spec.json`: the frozen specification, written when the run is queued."""
        return self.directory / "spec.json"

    @property
    def provenance(self) -> Path:
        """`provenance.json`: versions, device, host, data-set fingerprint, arguments."""
        return self.directory / "provenance.json"

    @property
    def dataset(self) -> Path:
        """`dataset.json`: classes, images per class, normalisation, fingerprint."""
        return self.directory / "dataset.json"

    @property
    def metrics(self) -> Path:
        """`metrics.jsonl`: one JSON object a line, appended."""
        return self.directory / "metrics.jsonl"

    @property
    def subset(self) -> Path:
        """`subset.parquet`: index, label and hash of every training image used."""
        return self.directory / "subset.parquet"

    @property
    def per_class(self) -> Path:
        """`per_class.parquet`: accuracy per class, last and best evaluation."""
        return self.directory / "per_class.parquet"

    @property
    def confusion(self) -> Path:
        """`confusion.parquet`: counts in long format, last and best evaluation."""
        return self.directory / "confusion.parquet"

    @property
    def predictions(self) -> Path:
        """`predictions.parquet`: probabilities per test image, last and best evaluation."""
        return self.directory / "predictions.parquet"

    @property
    def checkpoint(self) -> Path:
        """`checkpoint.pt`: everything a resuming worker needs."""
        return self.directory / "checkpoint.pt"

    @property
    def best(self) -> Path:
        """`best.pt`: the weights with the highest test accuracy, once the run is trained to its end."""
        return self.directory / "best.pt"

    @property
    def stdout(self) -> Path:
        """`stdout.log`."""
        return self.directory / "stdout.log"

    @property
    def stderr(self) -> Path:
        """`stderr.log`."""
        return self.directory / "stderr.log"

    @property
    def lock(self) -> Path:
        """`lock`: flocked by the worker for as long as it lives."""
        return self.directory / "lock"

    @property
    def claim(self) -> Path:
        """`claim.json`: who executes which attempt."""
        return self.directory / "claim.json"

    @property
    def exit(self) -> Path:
        """`exit.json`: how an attempt ended."""
        return self.directory / "exit.json"

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
        """`experiments.toml`."""
        return self.root / "experiments.toml"

    @property
    def runs(self) -> Path:
        """`runs/`: one directory per experiment, one below it per run."""
        return self.root / "runs"

    @property
    def queue(self) -> Path:
        """`runs/queue.db`: the queue's database."""
        return self.runs / "queue.db"

    @property
    def scheduler_lock(self) -> Path:
        """`runs/scheduler.lock`: whoever holds it is the scheduler."""
        return self.runs / "scheduler.lock"

    @property
    def scheduler_log(self) -> Path:
        """`runs/scheduler.log`."""
        return self.runs / "scheduler.log"

    @property
    def cache(self) -> Path:
        """`runs/.cache/`: compacted copies of finished runs; safe to delete."""
        return self.runs / ".cache"

    def run(self, experiment: str, run_id: str) -> RunPaths:
        """The files of one run."""
        return RunPaths(self.runs / experiment / run_id)

    def all_runs(self) -> Iterator[RunPaths]:
        """Every run directory that holds a `spec.json`, in name order."""
        for spec in sorted(self.runs.glob("[!.]*/[!.]*/spec.json")):
            # Such a name is none of ours, and no database takes it.
            if is_utf8(f"{spec}"):
                yield RunPaths(spec.parent)

    def superseded(self, experiment: str) -> Path:
        """Where `--force` moves old run directories: `runs/<experiment>/.superseded/`."""
        return self.runs / experiment / ".superseded"
