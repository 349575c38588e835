"""Lines of a text with their numbers: those that count, and what is passed over between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import partial
from itertools import islice
from typing import TextIO

from tui_datasize.runlog.importing.text_file import MOST_LINE

_COMMENT = "#"
_AT_ONCE, _SHORT = 500, 2**16
"""Lines that are taken together, and characters of one that may be among them."""
_LOOKED_AT = 50
"""Lines in which one with something between its cells is looked for."""
_RULE = re.compile(r"\s*\|?(\s*:?-+:?\s*\|)*\s*:?-+:?\s*\|?\s*")
"""Below the names of a table in Markdown."""


class Lines:
    """The lines of a text, with their numbers in the file.

    Lines that a person tells to skip, and such with zeros in them, are passed over and kept in mind.

    Raises ValueError: a line is too long.
    """

    def __init__(self, text: TextIO, skipped: Collection[int] = ()) -> None:
        self._text = text
        self._waiting: list[str] = []
        self._read: list[str] = []
        """Lines that were read ahead as they stand in the file, the next one last."""
        self._skipped = skipped
        self.is_framed = False
        """Whether each line has pipes around it, as in Markdown; they, and rules, are passed over."""
        self.number = 0
        """Of the line that was given last."""
        self.without_end = 0
        """Number of a last line that has no line end; 0 before it is read."""
        self.with_zeros: list[int] = []
        self.zeros_at_end = 0
        """Zeros behind the last line end, as a machine leaves them that went down."""
        self.is_cut_by_zeros = False
        """Whether something stands before these zeros, which is left out too."""

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        while line := self._next():
            if not self.is_framed:
                return line
            if not _RULE.fullmatch(line):
                return unframed(line)
        raise StopIteration

    def _next(self) -> str:
        """The next line as it stands there; empty behind the last."""
        if self._waiting:
            self.number += 1
            return self._waiting.pop()
        while line := self._line():
            is_ended = line.endswith(("\n", "\r"))
            if line.endswith("\0"):
                self._take_zeros(line)
                break
            self.number += 1
            if len(line) == MOST_LINE and not is_ended:
                raise ValueError(f"a line of more than {MOST_LINE:,} characters")
            if not is_ended:
                self.without_end = self.number
            if self.number in self._skipped:
                continue
            if "\0" not in line:
                return line
            self.with_zeros.append(self.number)
        return ""

    def _line(self) -> str:
        line = self._read.pop() if self._read else ""
        return line if _is_whole(line) else line + self._text.readline(MOST_LINE - len(line))

    def simple(self) -> Iterator[str]:
        """The next lines where each is a row by itself, their numbers counted; none where one may not be."""
        if self._waiting or self._read or self.is_framed or self._skipped:
            return
        found: list[str] = []
        for line in islice(iter(partial(self._text.readline, _SHORT), ""), _AT_ONCE):
            found.append(line)
            if not _is_whole(line):
                break
        text = "".join(found)
        if not found or not _is_whole(found[-1]) or any(mark in text for mark in ('"', "\0", _COMMENT)):
            self._read = found[::-1]
            return
        for line in found:
            self.number += 1
            yield line

    def _take_zeros(self, line: str) -> None:
        """Count the zeros that the text ends with; this line has the first of them."""
        n_zeros = len(line) - len(line.rstrip("\0"))
        while piece := self._text.readline(MOST_LINE):
            if piece.strip("\0"):
                raise ValueError(f"a line of more than {MOST_LINE:,} characters")
            n_zeros += len(piece)
        # Where the disk has the length of a row and not its end, its last number may have lost digits.
        self.is_cut_by_zeros = bool(line.strip("\0"))
        self.zeros_at_end = n_zeros

    def give_back(self, line: str) -> None:
        """Let a line be the next one once more, as it stands there."""
        self._waiting.append(line)
        self.number -= 1

    def ahead(self) -> list[str]:
        """The next lines, which are given again."""
        found = [*islice(self, _LOOKED_AT)]
        for line in reversed(found):
            self.give_back(line)
        return found

    def comment(self) -> int:
        """Take the next line if it is a comment; its number, or 0."""
        line = next(self, None)
        if line is None or not line.lstrip().startswith(_COMMENT):
            if line is not None:
                self.give_back(line)
            return 0
        return self.number


def _is_whole(line: str) -> bool:
    # A short one that ends in a carriage return may have lost the line feed behind it.
    return line.endswith("\n") or (line.endswith("\r") and len(line) < _SHORT)


def unframed(line: str) -> str:
    """A line without the pipes around it, and what makes a cell bold."""
    return line.strip().removeprefix("|").removesuffix("|").replace("**", "") + "\n"


def is_rule(line: str) -> bool:
    """Whether a line stands below the names of a table in Markdown."""
    return "|" in line and bool(_RULE.fullmatch(line))
