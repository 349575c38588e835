"""Confusion matrices, as scikit-learn prints them or as CSV: accuracy and macro F1 of one run.

Both are the same whether rows or columns are the true classes; what depends on it is not computed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tui_datasize.experiments.toml import text_of
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.meanings import folder_split
from tui_datasize.runlog.importing.records import take_records
from tui_datasize.runlog.importing.staged import Staged, reads_as_number

FORM = "confusion matrix"
FILES = ("*confusion*",)
_AROUND = 5
"""Lines that a text may have beside those of its square: names, blank ones."""


def is_confusion(name: str, head: bytes) -> bool:
    """Whether a text is a square of numbers in brackets, or named a confusion matrix or by its classes."""
    try:
        text = text_of(head)
    except UnicodeDecodeError:
        return False
    first = _cells(text.lstrip().partition("\n")[0])
    # Most files are no square, and large: that is seen without a look at each cell.
    if not first or abs(len(first[0]) - text.count("\n")) > _AROUND:
        return False
    cells = _cells(text)
    if _matrix(cells) is None:
        return False
    is_labelled = len(cells) > 2 and not reads_as_number(cells[0][-1]) and _names_agree(cells)
    return text.lstrip().startswith("[[") or is_labelled or "confusion" in name.lower()


def read_confusion(run: str, layout: Layout, into: Staged) -> None:
    """Read a matrix of counts.

    Raises ConfigError: its cells are shares, or it counts nothing.
    """
    text = text_of(into.read())
    if text.lstrip().startswith("[[") and not text.rstrip().endswith("]]"):
        raise into.error("cut off: its brackets are not closed", fix="save or copy it once more")
    if not text.endswith(("\n", "]")):
        into.torn("its last line has no line end", "read, though its last value may be cut off")
    matrix = _matrix(_cells(text))
    if matrix is None:
        raise into.error(
            "is no square of numbers", fix="give a line to each class, and a number to each cell"
        )
    if without := _without_totals(matrix):
        into.note("its last row and column sum up the others: left out")
        matrix = without
    cells = [cell for row in matrix for cell in row]
    if any(cell < 0 or not cell.is_integer() for cell in cells):
        fix = "save it without normalisation"
        raise into.error("its cells are shares, and accuracy takes numbers of images", fix=fix)
    if not (images := sum(cells)):
        raise into.error("counts no image", fix="save that of a test of at least one image")
    right = [row[place] for place, row in enumerate(matrix)]
    both = [sum(row) + sum(column) for row, column in zip(matrix, zip(*matrix, strict=True), strict=True)]
    f1_of_class = [2 * own / either for own, either in zip(right, both, strict=True) if either]
    accuracy, f1 = sum(right) / images, sum(f1_of_class) / len(f1_of_class)
    _, split = folder_split(run, layout.test_split)
    name = re.sub(r"[ _.-]*(confusion[ _.-]*matrix|confusion)[ _.-]*", "_", run, flags=re.IGNORECASE)
    into.note(f"{int(images):,} images of {len(matrix)} classes; accuracy and macro F1 are computed")
    record = {
        f"{split or 'test'}_accuracy": repr(accuracy),
        f"{split or 'test'}_f1_macro": repr(f1),
    }
    take_records([(1, record)], name, layout, into)


def _without_totals(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """The cells of the classes where the last row and column are their sums; none where these are classes."""
    *rows, totals = matrix
    cells = [list(row[:-1]) for row in rows]
    is_sum = all(sum(row) == last for row, (*_, last) in zip(cells, rows, strict=True))
    is_sum = is_sum and [sum(column) for column in zip(*rows, strict=True)] == list(totals)
    return cells if is_sum and len(cells) > 1 and totals[-1] else []


def _cells(text: str) -> list[list[str]]:
    bare = re.sub(r"[\[\]]", " ", text)
    lines = [line.rstrip().rstrip(",") for line in bare.splitlines() if line.strip()]
    between = (
        "," if any("," in line for line in lines) else ";" if any(";" in line for line in lines) else None
    )
    return [[cell.strip(' "') for cell in line.split(between)] for line in lines]


def _names_agree(cells: list[list[str]]) -> bool:
    """Whether the names above the columns are those before the rows."""
    below = [row[0] for row in cells[1:]]
    return cells[0][-len(below) :] == below


def _matrix(cells: list[list[str]]) -> list[list[float]] | None:
    """The numbers of a square, less the names of its classes above and before it; None where it is none."""
    if len(cells) > 2 and _names_agree(cells):
        cells = [row[1:] for row in cells[1:]]
    n = len(cells)
    if n < 2 or any(len(row) != n or not all(map(reads_as_number, row)) for row in cells):
        return None
    return [[float(cell) for cell in row] for row in cells]
