"""Scalars of TensorBoard event files, read without TensorBoard.

An event file is a sequence of records (length, its checksum, data, its checksum: TensorFlow's TFRecord),
each a protocol buffer `Event` of which only step and scalar summaries are looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.runlog.importing.collected import Collected, Moment
from tui_datasize.runlog.importing.layout import Layout
from tui_datasize.runlog.importing.tables import MOST_BYTES, cell_of_run, of_split

MOST_RECORD_BYTES = 64 * 2**20
_STEP, _SUMMARY = 2, 5
"""Fields of `Event`."""
_TAG, _SIMPLE_VALUE, _TENSOR = 1, 2, 8
"""Fields of `Summary.Value`; newer writers put scalars into tensors."""
_FORMATS = {1: "<f", 2: "<d"}
"""Of a tensor's content, by its data type; its fields 5 and 6 list values of these types."""


def is_event_file(file: Path) -> bool:
    """Whether a file is named as TensorBoard names its own."""
    return "tfevents" in file.name


def event_files(folder: Path) -> list[Path]:
    """The event files in a folder and below it, in name order."""
    return sorted(file for file in folder.rglob("*tfevents*") if file.is_file())


def read_events(file: Path, run: str, layout: Layout, into: Collected) -> None:
    """Read the scalars of one run.

    Args:
        file: An event file.
        run: The name of its folders: tells size and seed, and the split where the last is named like one.
        layout: Which tags are which metrics.
        into: Receives the values.

    Raises:
        ConfigError: The file is too large or damaged, or a value is none that its metric can have.
        OSError: It cannot be read.
    """
    if file.stat().st_size > MOST_BYTES:
        raise ConfigError(f"larger than {MOST_BYTES // 2**20} MiB", where=str(file))
    number = 0
    try:
        cell = cell_of_run(run, layout)
        split = "train" if run.rpartition("/")[2] == "train" else "test"
        for record in _records(file.read_bytes()):
            number += 1
            for step, tag, value in scalars(record):
                metric = layout.metric_of(tag)
                if metric is None:
                    into.ignored[tag] = None
                else:
                    into.add(cell, Moment(step), of_split(metric, split), layout.value(metric, value))
    except ValueError as error:
        raise ConfigError(str(error), where=f"{file}, record {max(1, number)}") from None


def scalars(event: bytes) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of the scalars of one `Event`.

    Raises:
        ValueError: It is no protocol buffer.
    """
    fields = list(_fields(event))
    step = next((value for number, value in fields if number == _STEP and isinstance(value, int)), 0)
    for summary in (v for number, v in fields if number == _SUMMARY and isinstance(v, bytes)):
        for value in (v for number, v in _fields(summary) if number == 1 and isinstance(v, bytes)):
            found = dict(_fields(value))
            tag, scalar = found.get(_TAG), _scalar(found)
            if isinstance(tag, bytes) and scalar is not None and step < 2**53:
                yield step, tag.decode("utf-8", errors="replace"), scalar


def _scalar(value: dict[int, int | bytes]) -> float | None:
    simple, tensor = value.get(_SIMPLE_VALUE), value.get(_TENSOR)
    if isinstance(simple, bytes) and len(simple) == 4:
        return float(struct.unpack("<f", simple)[0])
    if not isinstance(tensor, bytes):
        return None
    fields = dict(_fields(tensor))
    kind = fields.get(1)
    form = _FORMATS.get(kind) if isinstance(kind, int) else None
    content = fields.get(4) or fields.get(5 if kind == 1 else 6)
    if form is None or not isinstance(content, bytes) or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer; numbers of fixed size stay bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if length > len(message) - at:
            raise ValueError("a field that goes beyond its message")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number that does not end")


def _records(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if len(data) - at < 12:
            raise ValueError(f"the file ends within the record at byte {at}")
        head, (length, checksum) = data[at : at + 8], struct.unpack_from("<QI", data, at)
        if checksum != masked_crc(head):
            raise ValueError(f"no record at byte {at}: the checksum of its length is wrong")
        if length > MOST_RECORD_BYTES:
            raise ValueError(f"the record at byte {at} is larger than {MOST_RECORD_BYTES // 2**20} MiB")
        if len(data) - at < 16 + length:
            raise ValueError(f"the file ends within the record at byte {at}")
        record = data[at + 12 : at + 12 + length]
        if struct.unpack_from("<I", data, at + 12 + length)[0] != masked_crc(record):
            raise ValueError(f"the record at byte {at} is damaged: its checksum is wrong")
        yield record
        at += 16 + length


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as TFRecord stores it."""
    crc, table = 0xFFFFFFFF, _crc_table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> Sequence[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)
