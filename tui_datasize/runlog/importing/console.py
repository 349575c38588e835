"""What the reference training scripts of PyTorch and torchvision print: their logs are this text.

A line of a training epoch has `loss: now (mean)` or `Loss now (mean)`; the means of an epoch's last line are
those of the epoch. A test ends in a line of `Acc@1` and `Acc@5`, in percent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.records import Numbered, take_records
from tui_datasize.runlog.importing.staged import Staged
from tui_datasize.runlog.importing.text_file import TextFile

FORM = "printed log of PyTorch's or torchvision's training scripts"
FILES = ("*.log", "*.txt", "*.out")

_EPOCH = re.compile(r"Epoch: \[(?P<epoch>\d+)\]\s*\[")
_TEST = re.compile(r"Test: +\[")
_TESTED = re.compile(r"(?:Test:|\*) +Acc@1[ :]+(?P<top1>[\d.]+) +Acc@5[ :]+(?P<top5>[\d.]+)")
_OF_AVERAGE = re.compile(r"Test: +\w+.*Acc@1")
"""Of weights that are averaged (`Test: EMA Acc@1 ...`)."""
_MEANS = re.compile(
    r"\b(?P<name>loss|acc1|acc5|Acc@1|Acc@5):?\s+[-+.\deE]+\s+\(\s*(?P<mean>[-+.\deE]+|nan|inf)\)", re.I
)
_HEAD = re.compile(rb"^.{0,80}?(Epoch: \[\d+\]\s*\[|Test: +\[\s*\d+/|(Test:| \*) +Acc@1)", re.MULTILINE)
"""Launchers put the rank before a line, loggers the time."""


def is_console(_name: str, head: bytes) -> bool:
    """Whether a text has such lines."""
    return _HEAD.search(head) is not None


def read_console(run: str, layout: Layout, into: Staged) -> None:
    """Read a log as a record per epoch and split."""
    take_records([*_records(into)], run, layout, into)
    into.is_in_order = any(row.moment.is_told for row in into.rows)


def _records(into: Staged) -> Iterator[Numbered]:
    epoch = ""
    trained: dict[str, str] = {}
    loss: dict[str, str] = {}
    place = number = 0
    line = "\n"
    with TextFile(into.file, into).open() as text:
        for number, line in enumerate(text, start=1):
            if found := _EPOCH.search(line):
                if trained and found["epoch"] != epoch:
                    yield place, {"epoch": epoch, **trained}
                epoch, place, trained = found["epoch"], number, _means(line, "train")
            elif _OF_AVERAGE.search(line):
                into.note("tests of averaged weights (EMA) are left out")
            elif _TEST.search(line):
                loss = {name: value for name, value in _means(line, "test").items() if name == "test_loss"}
            elif found := _TESTED.search(line):
                if trained:
                    yield place, {"epoch": epoch, **trained}
                    trained = {}
                scores = {"test_acc1": f"{found['top1']}%", "test_acc5": f"{found['top5']}%"}
                yield number, {"epoch": epoch, **scores, **loss}
                loss = {}
    if not line.endswith("\n"):
        into.torn(f"line {number}, the last, has no line end", "read, though its last value may be cut off")
    if trained:
        yield place, {"epoch": epoch, **trained}
        into.torn(f"line {number}, the last, is of a training: its epoch may be cut off", "read as it stands")


def _means(line: str, split: str) -> dict[str, str]:
    found = {}
    for match in _MEANS.finditer(line):
        name = match["name"].lower().replace("@", "")
        found[f"{split}_{name}"] = match["mean"] + ("" if name == "loss" else "%")
    return found
