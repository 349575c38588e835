"""Any frame as CSV, Parquet, JSON or Markdown, to a file or to standard output."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import polars as pl
import polars.selectors as cs

from tui_datasize.runlog.outputs import write_output
from tui_datasize.runlog.tables import parquet
from tui_datasize.text import visible

Format: TypeAlias = Literal["csv", "parquet", "json", "markdown"]
FORMATS: tuple[Format, ...] = get_args(Format)

SUFFIXES: Mapping[Format, tuple[str, ...]] = MappingProxyType(
    {"csv": (".csv",), "parquet": (".parquet",), "json": (".json",), "markdown": (".md", ".markdown")}
)

_FORMULA_START = r"^([=+\-@\t\r\n])"
"""What makes a spreadsheet take a text for a formula (OWASP, "CSV Injection")."""


def render(frame: pl.DataFrame, format_: Format) -> bytes:
    """A frame as the bytes of a file.

    - CSV: a text that a spreadsheet would take for a formula is preceded by an apostrophe; numbers stay
      numbers; lists and structs are JSON text; null and NaN are empty.
    - JSON: an array of one object per row; null, NaN and infinity are null.
    - Markdown: an aligned table to read, numbers to six digits; null and NaN are empty.
    - Parquet: the frame as it is.
    """
    return _RENDERERS[format_](frame)


def export_frame(frame: pl.DataFrame, format_: Format, file: Path | None, *, force: bool = False) -> None:
    """Write a frame to a file, whole or not at all, or to standard output where `file` is None.

    Raises StorageError: the file cannot be written, or must not be replaced; see `write_output`.
    """
    data = render(frame, format_)
    if file is None:
        # A terminal would act on control characters; a file or a pipe gets them as they are.
        is_acted_on = sys.stdout.isatty() and format_ != "parquet"
        sys.stdout.buffer.write(visible(data.decode(), lines=True).encode() if is_acted_on else data)
        sys.stdout.buffer.flush()
        return
    write_output(file, data, suffixes=SUFFIXES[format_], force=force)


def _csv(frame: pl.DataFrame) -> bytes:
    texts = _nested_as_json(frame).with_columns(cs.categorical().cast(pl.String), cs.float().fill_nan(None))
    harmless = texts.with_columns(cs.string().str.replace(_FORMULA_START, "'$1"))
    return harmless.rename(lambda name: re.sub(_FORMULA_START, r"'\1", name)).write_csv().encode()


def _json(frame: pl.DataFrame) -> bytes:
    rows = frame.write_ndjson().removesuffix("\n").replace("\n", ",\n ")
    return f"[{rows}]\n".encode()


def _markdown(frame: pl.DataFrame) -> bytes:
    columns = [_markdown_column(column) for column in _nested_as_json(frame)]
    lines = [f"| {' | '.join(cells)} |" for cells in zip(*columns, strict=True)]
    return "".join(f"{line}\n" for line in lines).encode()


def _markdown_column(column: pl.Series) -> list[str]:
    """Name, rule and cells of one column, all of one width; numbers stand at the right."""
    is_number = column.dtype.is_numeric()
    cells = [column.name, *(_markdown_cell(value) for value in column)]
    width = max(3, *(len(cell) for cell in cells))
    head, *body = (cell.rjust(width) if is_number else cell.ljust(width) for cell in cells)
    return [head, "-" * (width - 1) + (":" if is_number else "-"), *body]


def _markdown_cell(value: object) -> str:
    if value is None or value != value:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _nested_as_json(frame: pl.DataFrame) -> pl.DataFrame:
    nested = frame.select(cs.nested()).columns
    return frame.with_columns(_json_text(name) for name in nested)


def _json_text(column: str) -> pl.Expr:
    # Polars encodes structs alone, so the value is wrapped in one and cut out again.
    wrapped = pl.struct(pl.col(column).alias("v")).struct.json_encode()
    text = wrapped.str.strip_prefix('{"v":').str.strip_suffix("}")
    return pl.when(pl.col(column).is_not_null()).then(text).alias(column)


_RENDERERS: Mapping[Format, Callable[[pl.DataFrame], bytes]] = MappingProxyType(
    {"csv": _csv, "parquet": parquet, "json": _json, "markdown": _markdown}
)
