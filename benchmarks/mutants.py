"""Whether the tests notice what is broken on purpose: `python -m benchmarks.mutants [NAME ...]`.

Each mutant is one edit of one room, made in a copy of the tree, and the tests of that room are run there
until one fails. A mutant that no test notices shows what the suite has lost.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_TREE = Path(__file__).parents[1]
_COPIED = ("tui_datasize", "tests", "benchmarks")
_TESTS_FAILED = 1
"""Exit status of pytest; any other but 0 says that nothing was tested."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """An edit, and the tests that are to notice it."""

    name: str
    file: str
    """Below `tui_datasize`."""
    before: str
    after: str
    tests: str
    """Below `tests`, with spaces between."""


MUTANTS = (
    Mutant(
        "experiments: the rarest class of a long tail is not as rare as asked",
        "experiments/subsets.py",
        "-(steps / max(1, classes - 1))",
        "-(steps / classes)",
        "unit/test_subsets.py",
    ),
    Mutant(
        "experiments: pictures lie as a phone has stored them",
        "experiments/images/pixels.py",
        "        ImageOps.exif_transpose(image, in_place=True)\n",
        "        pass\n",
        "training/test_image_pixels.py",
    ),
    Mutant(
        "experiments: a split that is drawn depends on where the folder lies",
        "experiments/images/walk.py",
        "{file.path[below:]}",
        "{file.path}",
        "unit/test_image_folders.py",
    ),
    Mutant(
        "runlog: metrics are not synced before what relies on them",
        "runlog/writer.py",
        "        os.fsync(self._file.fileno())\n",
        "        pass\n",
        "training/test_power_cut.py",
    ),
    Mutant(
        "importing: a number that may be either of two is taken for one",
        "runlog/importing/names.py",
        "    if _EITHER.fullmatch(text):",
        "    if False:",
        "unit/test_import_values.py unit/test_import_names.py",
    ),
    Mutant(
        "importing: a mean counts as one run",
        "runlog/importing/tables.py",
        "        return row._replace(spreads=tuple(found), n_runs=n_runs)",
        "        return row",
        "unit/test_import_means.py",
    ),
    Mutant(
        "importing: the line behind those looked at for a title is lost",
        "runlog/importing/lines.py",
        "[*islice(self, _LOOKED_AT)]",
        "[line for line, _ in zip(self, range(_LOOKED_AT), strict=False)]",
        "unit/test_import_lines.py",
    ),
    Mutant(
        "queue: the priority decides nothing",
        "jobs/queue/store.py",
        "ORDER BY priority DESC, position LIMIT ?",
        "ORDER BY position LIMIT ?",
        "unit/test_store.py",
    ),
    Mutant(
        "queue: an undo puts back what has changed since",
        "jobs/queue/undo.py",
        "elif any(now[name] != self.became[name] for name in changed):",
        "elif False:",
        "unit/test_undo.py",
    ),
    Mutant(
        "scheduler: one attempt more than allowed",
        "jobs/scheduler/attempt_end.py",
        "ending.attempt < ending.max_attempts",
        "ending.attempt <= ending.max_attempts",
        "unit/test_scheduler_judge.py",
    ),
    Mutant(
        "workers: a link in the place of a slot is followed",
        "jobs/workers/slot_file.py",
        "os.O_CLOEXEC | os.O_NOFOLLOW",
        "os.O_CLOEXEC",
        "unit/test_slots.py unit/test_access.py",
    ),
    Mutant(
        "training: a resumed run draws its dropout anew",
        "training/engine.py",
        '        self._dropout.set_state(state["dropout"])\n',
        "",
        "training/test_session.py",
    ),
    Mutant(
        "training: images held out are learned from without their labels",
        "training/task.py",
        "np.setdiff1d(np.arange(len(self.true_labels)), self.subset)",
        "np.setdiff1d(np.arange(len(self.true_labels)), self.subset[~self.is_held_out])",
        "training/test_unlabelled.py",
    ),
    Mutant(
        "training: a target that is not sure is learned",
        "training/unlabelled.py",
        "return labels, confidences >= threshold",
        "return labels, confidences >= 0",
        "training/test_unlabelled.py",
    ),
    Mutant(
        "training: what is drawn for images without labels is drawn anew after a resume",
        "training/unlabelled.py",
        '        self._augmentation.set_state(state["augmentation"])\n',
        "",
        "training/test_unlabelled.py",
    ),
    Mutant(
        "training: without labels test images are learned from that are in the training set",
        "training/task.py",
        "    return subset[~is_tested]\n",
        "    return subset\n",
        "training/test_pretext.py",
    ),
    Mutant(
        "training: a view is told apart from itself",
        "training/pretext.py",
        ".fill_diagonal_(-torch.inf)",
        "",
        "training/test_pretext.py",
    ),
    Mutant(
        "training: a start may have learned from test images of another run",
        "training/prepare.py",
        "    refuse_tested(paths, spec, whole, [own.test, *tests.values()], data_dir)\n",
        "",
        "training/test_leaks.py",
    ),
    Mutant(
        "training: a start may have learned from test images in another size",
        "training/leaks.py",
        "train[rows] if is_seen_alike else",
        "train[rows] if True else",
        "training/test_leaks.py",
    ),
    Mutant(
        "training: what a source has started from may have learned from test images",
        "training/leaks.py",
        "            waiting += of_source.named_sources\n",
        "",
        "training/test_leaks.py",
    ),
    Mutant(
        "stats: what learns without labels is on the learning curve",
        "stats/curve.py",
        "classifying(runs).filter(",
        "runs.filter(",
        "unit/test_starts.py",
    ),
    Mutant(
        "training: a generator sees the images held out",
        "training/synthetic/images.py",
        "trained = task.subset[~task.is_held_out]",
        "trained = task.subset",
        "training/test_synthetic.py",
    ),
    Mutant(
        "training: the noise of a generator is drawn anew after a resume",
        "training/synthetic/generator.py",
        '        self._noise.set_state(state["noise"])\n',
        "",
        "training/test_synthetic.py",
    ),
    Mutant(
        "training: what is measured of the subset counts generated images",
        "training/engine.py",
        "self.subset.first(len(subset)) if beside.generated else self.subset",
        "self.subset",
        "training/test_synthetic.py",
    ),
    Mutant(
        "stats: the variance of few runs is too small",
        "stats/clusters.py",
        "stderr = float(values.std(ddof=1))",
        "stderr = float(values.std(ddof=0))",
        "unit/test_clusters.py unit/test_curve.py",
    ),
    Mutant(
        "answers: a variant is not counted",
        "answers/first_answer.py",
        "has the best mean of {len(rest) + 1} variants: ",
        "has the best mean of {len(rest)} variants: ",
        "unit/test_answers.py",
    ),
    Mutant(
        "render: words of a page act as HTML",
        "render/page.py",
        "[*parts, escaped(text[end:])]",
        "[*parts, text[end:]]",
        "unit/test_report.py",
    ),
    Mutant(
        "app: keys change the priority the other way",
        "tui/queue/tab.py",
        "command_on(CommandKind(kind), self._targets(), amount)",
        "command_on(CommandKind(kind), self._targets(), -amount)",
        "tui/test_queue_tab.py",
    ),
    Mutant(
        "command line: a standing fault is no failure",
        "cli/status.py",
        "EXIT_RUN_FAILED if self.faults else EXIT_OK",
        "EXIT_OK",
        "unit/test_faults.py",
    ),
    Mutant(
        "cluster: a submission in doubt is repeated before Slurm has said whether it has it",
        "jobs/scheduler/slurm/executor.py",
        "        if tasks is not None:\n            names =",
        "        if True:\n            tasks = tasks or []\n            names =",
        "unit/test_slurm.py",
    ),
    Mutant(
        "cluster: a worker is taken for gone when Slurm does not answer",
        "jobs/scheduler/slurm/attempts.py",
        "is_gone = is_answered and (task is None or task.is_over)",
        "is_gone = task is None or task.is_over",
        "unit/test_slurm.py",
    ),
    Mutant(
        "cluster: an array that is handed over again has its old name",
        "jobs/scheduler/slurm/arrays.py",
        'f"{run.first} {run.directory}"',
        'f"{run.directory}"',
        "unit/test_slurm.py",
    ),
    Mutant(
        "cluster: a task that comes late makes a run that has ended",
        "runlog/claim.py",
        "if first and end and end.attempt >= first and end.outcome is not RunOutcome.INTERRUPTED:",
        "if first and end and end.attempt < first:",
        "unit/test_slurm.py",
    ),
    Mutant(
        "cluster: a lease counts as old at once",
        "runlog/lease.py",
        "return age_s > STALE_S",
        "return age_s > 0",
        "unit/test_lease.py",
    ),
    Mutant(
        "cluster: leases are not exclusive",
        "runlog/lease.py",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL",
        "os.O_WRONLY | os.O_CREAT",
        "unit/test_lease.py",
    ),
    Mutant(
        "training: the first checkpoint is due as if all of it took what a part of it does",
        "training/checkpoint.py",
        "(1 + size / _TRIED_BYTES)",
        "1.0",
        "training/test_session.py",
    ),
    Mutant(
        "queue: a scheduler goes on without the lock of its project",
        "jobs/scheduler/lock.py",
        "return self._descriptor is not None and is_named(self._descriptor, self._path)",
        "return True",
        "faults/test_machine_faults.py",
    ),
    Mutant(
        "app: a disk that does not answer is not told",
        "tui/polling/poller.py",
        "if waits_for_disk(self._thread.native_id):",
        "if False:",
        "tui/test_collect.py",
    ),
)


def main() -> int:
    """Try the mutants that are named, or all; 1 where one is not noticed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="rooms, as far as they tell them apart (default: all)")
    names = parser.parse_args().names
    chosen = [one for one in MUTANTS if not names or one.name.startswith(tuple(names))]
    results = [try_mutant(mutant) for mutant in chosen]
    print(f"{sum(results)} of {len(results)} noticed")
    return 0 if results and all(results) else 1


def try_mutant(mutant: Mutant) -> bool:
    """Run the tests on a copy with the edit, print what came of it, and return whether one failed."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        for name in _COPIED:
            shutil.copytree(_TREE / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(_TREE / "pyproject.toml", tree)
        file = tree / "tui_datasize" / mutant.file
        text = file.read_text()
        if text.count(mutant.before) != 1:
            raise SystemExit(f"{mutant.file}: the text to edit is not there once: {mutant.before.strip()}")
        file.write_text(text.replace(mutant.before, mutant.after))
        tests = [f"tests/{test}" for test in mutant.tests.split()]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", *tests],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
        )
    failed = [line.partition(" - ")[0] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    is_noticed = done.returncode == _TESTS_FAILED and bool(failed)
    what = failed[0].removeprefix("FAILED tests/") if failed else f"pytest ended with {done.returncode}"
    verdict = "noticed" if is_noticed else "MISSED"
    print(f"{verdict:8} {mutant.name}: {what} ({time.monotonic() - began_s:.0f} s)", flush=True)
    return is_noticed


if __name__ == "__main__":
    sys.exit(main())
