"""Runs in a folder of MLflow: a file for each metric, with a line per value, and for each parameter."""

from __future__ import annotations

import re
from pathlib import Path

from tui_datasize.experiments.toml import text_of
from tui_datasize.files import read_bounded
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.records import take_records
from tui_datasize.runlog.importing.staged import Staged

FORM = "run of MLflow (meta.yaml)"
FILES = ("meta.yaml",)

_STATES = {"1": "running", "2": "scheduled", "3": "finished", "4": "failed", "5": "killed"}


def is_mlflow(name: str, head: bytes) -> bool:
    """Whether a file describes a run of MLflow; those of experiments have no id of one."""
    return name in FILES and re.search(rb"^run_(id|uuid):", head, re.MULTILINE) is not None


def read_mlflow(run: str, layout: Layout, into: Staged) -> None:
    """Read the run beside whose `meta.yaml` its metrics and parameters lie.

    Raises ConfigError: a line of a metric is none.
    """
    folder = into.file.parent
    facts = dict(re.findall(r"^(\w+): *(.*?) *$", _text(into.file, into), re.MULTILINE))
    known = {"run_name": facts.get("run_name", "").strip("'\"") or run}
    known["status"] = _STATES.get(facts.get("status", ""), facts.get("status", ""))
    if facts.get("lifecycle_stage") == "deleted":
        known["status"] = "deleted"
    for file in _files(folder / "params"):
        known[f"params.{file.relative_to(folder / 'params').as_posix()}"] = _text(file, into).strip()
    rows: dict[int, dict[str, str]] = {}
    for file in _files(folder / "metrics"):
        metric = file.relative_to(folder / "metrics").as_posix()
        text = _text(file, into)
        if not text.endswith("\n"):
            into.torn(f"the last line of metrics/{metric} has no line end", "read as it stands")
        for number, line in enumerate(text.splitlines(), start=1):
            parts = line.split()
            if len(parts) != 3 or not parts[2].isdecimal():
                what = f"metrics/{metric} is damaged in line {number}: {line[:40]!r}"
                raise into.error(what, fix="mend the line, or leave the run out")
            rows.setdefault(int(parts[2]), {})[metric] = parts[1]
    records = [(step, {"step": str(step), **known, **rows[step]}) for step in sorted(rows)]
    take_records(records, run, layout, into)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _text(file: Path, into: Staged) -> str:
    try:
        return text_of(read_bounded(file))
    except UnicodeDecodeError:
        raise into.error(f"{file.name} is not UTF-8 text", fix="save it as UTF-8") from None
