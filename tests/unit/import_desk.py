"""A project into which files are imported, and files as trainers elsewhere write them."""

from __future__ import annotations

import struct
from pathlib import Path

import polars as pl

from tui_datasize.cli.dispatch import main
from tui_datasize.runlog.importing.events import masked_crc
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.runlog.reader import RunLog


class Desk:
    """A project and a folder of files to import."""

    def __init__(self, project: ProjectPaths) -> None:
        self.project = project

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def bring(self, *words: str | Path, experiment: str = "theirs") -> int:
        return main(["import", experiment, *map(str, words), "--project", str(self.project.root)])

    def back(self, *words: str) -> int:
        return main(["import", *words, "--project", str(self.project.root)])

    def rows(self, *columns: str) -> list[tuple]:
        """Size, seed (of repeats from 0) and other columns of all runs."""
        runs = RunLog(self.project).runs()
        return runs.select("train_size", pl.coalesce("seed", pl.col("repeat") - 1), *columns).rows()

    def tree(self) -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(self.project.runs.rglob("*")) if p.is_file()}


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protocol buffer of fields; bytes of fixed numbers are given with the kind in front."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += bytes([number << 3]) + bytes([value & 0x7F | 0x80, value >> 7])
        elif value[:1] == b"\x05":
            out += bytes([number << 3 | 5]) + value[1:]
        else:
            length = len(value)
            sizes = [length >> place & 0x7F | 0x80 for place in range(0, 35, 7)]
            out += bytes([number << 3 | 2, *sizes[:-1], sizes[-1] & 0x7F]) + value
    return out


def event_file(*scalars: tuple[int, str, float], as_tensor: bool = False) -> bytes:
    """An event file of scalars (step, tag, value), its records framed as TensorFlow frames them."""
    out = b""
    for step, tag, value in scalars:
        number = struct.pack("<f", value)
        held = (8, message((1, 1), (4, number))) if as_tensor else (2, b"\x05" + number)
        event = message((2, step), (5, message((1, message((1, tag.encode()), held)))))
        out += record(event)
    return out


def record(event: bytes, checksum: int | None = None) -> bytes:
    """An event, framed as TensorFlow frames it; by default with its own checksum."""
    head = struct.pack("<Q", len(event))
    told = masked_crc(event) if checksum is None else checksum
    return head + struct.pack("<I", masked_crc(head)) + event + struct.pack("<I", told)
