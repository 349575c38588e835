"""Scalars of TensorBoard event files, read without TensorBoard.

An event file is a sequence of records (length, its checksum, data, its checksum: TensorFlow's TFRecord),
each a protocol buffer `Event` of which only step and scalar summaries are looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache

from tui_datasize.runlog.importing.beside import facts_beside
from tui_datasize.runlog.importing.layout import Layout, origin_of, refuse_contradiction
from tui_datasize.runlog.importing.meanings import folder_split
from tui_datasize.runlog.importing.names import UnclearNameError
from tui_datasize.runlog.importing.staged import Moment, Staged, StagedKey, StagedRow
from tui_datasize.text import plural

FORM = "TensorBoard event file"

MOST_RECORD_BYTES = 16 * 2**20
MOST_FIELDS = 200_000
"""Of one record, all that are within one another counted: those of some 30,000 scalars."""
_ALWAYS_CHECKED_BYTES = 2**16
"""The checksum of a larger record, an image or a graph, is computed only where it tells a scalar: that takes
a second for ten megabytes."""
_STEP, _SUMMARY = 2, 5
"""Fields of `Event`."""
_TAG, _SIMPLE_VALUE, _TENSOR = 1, 2, 8
"""Fields of `Summary.Value`; newer writers put scalars into tensors."""
_FORMATS = {1: "<f", 2: "<d"}
"""Of a tensor's content, by its data type; its fields 5 and 6 list values of these types."""


def is_events(name: str, head: bytes) -> bool:
    """Whether a file is named as TensorBoard names its own, or begins with a record."""
    return "tfevents" in name or (len(head) >= 12 and _has_length(head, 0))


def read_events(run: str, layout: Layout, into: Staged) -> None:
    """Read the scalars of one run.

    Its folders tell size and seed, and the split where the last is named like one. A record that is damaged
    or cut off is left out, and told.

    Raises ConfigError: the file holds no record, or a value is none that its metric can have.
    """
    into.is_in_order, into.place = True, "record"
    data = into.read()
    number = 0
    try:
        name, split = folder_split(run, layout.test_split)
        facts = facts_beside(into.file, (), layout)
        fields = layout.fields_of([*facts]) if facts else {}
        known = {field: facts[column] for field, column in fields.items()}
        origin = origin_of(known, name, layout)
        refuse_contradiction(origin, known, layout)
        into.fields.update((column, field) for field, column in fields.items())
        skipped = layout.skipped(into.file)
        for number, record in enumerate(_records(data, into), start=1):
            for step, tag, value in scalars(record) if number not in skipped else ():
                meaning = layout.meaning_of(tag)
                if meaning is None:
                    into.passed[tag] = "--ignore" if tag in layout.ignore else ""
                    continue
                into.columns[tag] = meaning
                key = StagedKey(tag, meaning.split or split)
                found = into.number(tag, value, number)
                into.add(StagedRow(origin, Moment(step), number, ((key, found),)))
    except UnclearNameError as error:
        raise into.error(error.what, fix=error.fix) from None
    except ValueError as error:
        fix = f"--skip-line {max(1, number)} leaves the record out"
        raise into.error(str(error), max(1, number), fix=fix) from None
    if not number:
        what = into.notes.pop() if into.notes else "no record is in it"
        raise into.error(what, fix="copy it once more, or leave it out")


def scalars(event: bytes) -> Iterator[tuple[int, str, float]]:
    """Step, tag and value of the scalars of one `Event`.

    Raises ValueError: it is no protocol buffer, or has more than `MOST_FIELDS`.
    """
    left = iter(range(MOST_FIELDS))
    fields = list(_fields(event, left))
    step = next((value for number, value in fields if number == _STEP and isinstance(value, int)), 0)
    for summary in (v for number, v in fields if number == _SUMMARY and isinstance(v, bytes)):
        for value in (v for number, v in _fields(summary, left) if number == 1 and isinstance(v, bytes)):
            found = dict(_fields(value, left))
            tag, scalar = found.get(_TAG), _scalar(found, left)
            if isinstance(tag, bytes) and scalar is not None and step < 2**53:
                yield step, tag.decode("utf-8", errors="replace"), scalar


def _scalar(value: dict[int, int | bytes], left: Iterator[int]) -> float | None:
    simple, tensor = value.get(_SIMPLE_VALUE), value.get(_TENSOR)
    if isinstance(simple, bytes) and len(simple) == 4:
        return float(struct.unpack("<f", simple)[0])
    if not isinstance(tensor, bytes):
        return None
    fields = dict(_fields(tensor, left))
    kind = fields.get(1)
    form = _FORMATS.get(kind) if isinstance(kind, int) else None
    content = fields.get(4) or fields.get(5 if kind == 1 else 6)
    if form is None or not isinstance(content, bytes) or len(content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, content)[0])


def _fields(message: bytes, left: Iterator[int]) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer; numbers of fixed size stay bytes.

    Takes one of `left` for each.
    """
    at = 0
    while at < len(message):
        if next(left, None) is None:
            raise ValueError(f"a record of more than {MOST_FIELDS:,} fields")
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


def _records(data: bytes, into: Staged) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if not data[at : at + 12].strip(b"\0") and not data[at:].strip(b"\0"):
            into.torn(f"ends in {plural(len(data) - at, 'byte')} of zeros")
            return
        if len(data) - at < 12:
            into.torn(f"the file ends within the record at byte {at}", "that record is left out")
            return
        if not _has_length(data, at):
            rest = plural(len(data) - at, "byte")
            what = f"no record at byte {at}, as the checksum of its length is wrong"
            into.torn(what, f"the {rest} from there are left out")
            return
        length = struct.unpack_from("<Q", data, at)[0]
        if length > MOST_RECORD_BYTES:
            raise ValueError(f"the record at byte {at} is larger than {MOST_RECORD_BYTES // 2**20} MiB")
        if len(data) - at < 16 + length:
            into.torn(f"the file ends within the record at byte {at}", "that record is left out")
            return
        record = data[at + 12 : at + 12 + length]
        checksum = struct.unpack_from("<I", data, at + 12 + length)[0]
        if _tells_nothing(record) or checksum == masked_crc(record):
            yield record
        else:
            into.torn(f"the record at byte {at} is damaged: its checksum is wrong")
        at += 16 + length


def _tells_nothing(record: bytes) -> bool:
    """Whether a record is too large for most scalars and has none, so that nobody need trust it."""
    if len(record) <= _ALWAYS_CHECKED_BYTES:
        return False
    try:
        return next(scalars(record), None) is None
    except ValueError:
        return False


def _has_length(data: bytes, at: int) -> bool:
    return bool(struct.unpack_from("<I", data, at + 8)[0] == masked_crc(data[at : at + 8]))


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
