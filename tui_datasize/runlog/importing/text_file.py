"""The text of a file, line by line, however large it is."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

from tui_datasize.files import open_regular
from tui_datasize.runlog.importing.staged import Staged

MOST_LINE = 16 * 2**20
"""Characters of a line."""
_PIECE_BYTES = 2**20


class TextFile:
    """Text in UTF-8, in UTF-16 with its mark, or else in Latin-1, which is told.

    It is read twice: what the end of a file says of its encoding holds for its first line too.

    Raises ConfigError: it is no text.
    """

    def __init__(self, file: Path, into: Staged) -> None:
        self._file = file
        with open_regular(file) as stream:
            head = stream.read(4)
            self._encoding, self._errors = "utf-8-sig", "strict"
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and head != codecs.BOM_UTF32_LE:
                self._encoding = "utf-16"
            stream.seek(0)
            self._look_through(stream, into)

    def _look_through(self, stream: BinaryIO, into: Staged) -> None:
        decoder = codecs.getincrementaldecoder(self._encoding)()
        try:
            while piece := stream.read(_PIECE_BYTES):
                decoder.decode(piece)
        except UnicodeDecodeError:
            self._take_for_latin_1(stream, into)
            return
        left, _ = decoder.getstate()
        if left.strip(b"\0"):
            into.torn("ends within a character")
        self._errors = "ignore"

    def _take_for_latin_1(self, stream: BinaryIO, into: Staged) -> None:
        self._encoding = "latin-1"
        stream.seek(0)
        while piece := stream.read(_PIECE_BYTES):
            # What may stand in a text of Western Europe; zeros are left where a machine went down.
            if _NO_LATIN_1.search(piece):
                raise into.error("not UTF-8 text", fix="save it as UTF-8")
        into.torn("not UTF-8 text", "read as Latin-1")

    def open(self) -> TextIO:
        """The text from its beginning, with the line ends that it has."""
        binary = open_regular(self._file)
        return io.TextIOWrapper(binary, encoding=self._encoding, errors=self._errors, newline="")

    def pieces(self) -> Iterator[str]:
        """The text in pieces of whole lines."""
        with self.open() as text:
            while lines := text.readlines(_PIECE_BYTES):
                yield "".join(lines)


_NO_LATIN_1 = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
