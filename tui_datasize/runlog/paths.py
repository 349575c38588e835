"""Names of all files of a project and of a run directory; nothing else spells them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tui_datasize.files import is_utf8


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a run directory, or of a project."""

    name: str

    def __get__(self, owner: RunPaths | ProjectPaths, _class: type) -> Path:
        return (owner.directory if isinstance(owner, RunPaths) else owner.root) / self.name


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
    chosen = _File("chosen.png")
    """The first and the last of the images that a labelling strategy has added."""
    generated = _File("generated.png")
    """Generated images that it learned from, a class a row."""
    generator = _File("generator.pt")
    """What made them, or has come as far as this in its own training."""
    per_class = _File("per_class.parquet")
    """Accuracy per class, last and best evaluation."""
    confusion = _File("confusion.parquet")
    """Counts in long format, last and best evaluation."""
    predictions = _File("predictions.parquet")
    """Probabilities per test image, last and best evaluation."""
    checkpoint = _File("checkpoint.pt")
    """Everything a resuming worker needs."""
    best = _File("best.pt")
    """The weights of the best evaluation, by images held out where there are any, or those trained anew on
    all images; written at the end."""
    stdout = _File("stdout.log")
    stderr = _File("stderr.log")
    lock = _File("lock")
    """Flocked by the worker for as long as it lives."""
    claim = _File("claim.json")
    """Who executes which attempt."""
    exit = _File("exit.json")
    """How an attempt ended."""

    def lease(self, attempt: int) -> Path:
        """Who has an attempt that a cluster makes."""
        return self.directory / f"lease.{attempt}"

    @property
    def run_id(self) -> str:
        return self.directory.name

    @property
    def experiment(self) -> str:
        return self.directory.parent.name

    @property
    def files(self) -> tuple[Path, ...]:
        named = (one for one in vars(RunPaths).values() if isinstance(one, _File))
        return tuple(self.directory / one.name for one in named)


@dataclass(frozen=True, slots=True)
class ProjectPaths:
    """The files of a project directory."""

    root: Path

    experiments = _File("experiments.toml")
    notes = _File("notes")
    """What people remarked on experiments, a file each: `note`."""
    runs = _File("runs")
    """One directory per experiment, one below it per run."""
    cluster = _File("runs/.cluster")
    """What jobs of a cluster say before they have a run."""
    queue = _File("runs/queue.db")
    scheduler_lock = _File("runs/scheduler.lock")
    """Whoever holds it is the scheduler."""
    scheduler_log = _File("runs/scheduler.log")
    cache = _File("runs/.cache")
    """Compacted copies of finished runs; safe to delete."""
    device_history = _File("runs/.cache/devices.jsonl")
    """What the devices did in the last minutes."""

    @property
    def has_runs(self) -> bool:
        """Whether any experiment has left a directory."""
        return any(entry.is_dir() for entry in self.runs.glob("[!.]*"))

    def run(self, experiment: str, run_id: str) -> RunPaths:
        return RunPaths(self.runs / experiment / run_id)

    def note(self, experiment: str) -> Path:
        return self.notes / f"{experiment}.md"

    def all_runs(self) -> Iterator[RunPaths]:
        """Every run directory that holds a `spec.json`, in name order."""
        for spec in sorted(self.runs.glob("[!.]*/[!.]*/spec.json")):
            # Such a name is none of ours, and no database takes it.
            if is_utf8(f"{spec}"):
                yield RunPaths(spec.parent)

    def superseded(self, experiment: str) -> Path:
        """Where `--force` moves old run directories."""
        return self.runs / experiment / ".superseded"
