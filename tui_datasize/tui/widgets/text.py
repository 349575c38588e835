"""Text cut and padded to columns."""

from __future__ import annotations

from tui_datasize.text import plural, visible

__all__ = ["fit", "fit_end", "number", "plural"]


def fit(text: str, width: int) -> str:
    """The text in exactly `width` columns, cut with an ellipsis where it is longer.

    >>> fit("letters", 9), fit("letters", 4)
    ('letters  ', 'let…')
    """
    text = visible(text)
    if len(text) <= width:
        return text.ljust(width)
    return f"{text[: width - 1]}…" if width > 0 else ""


def fit_end(text: str, width: int) -> str:
    """The text in exactly `width` columns, cut at its start: where names begin alike, their ends differ.

    >>> fit_end("letters", 9), fit_end("letters-n750", 6)
    ('letters  ', '…-n750')
    """
    text = visible(text)
    if len(text) <= width:
        return text.ljust(width)
    return f"…{text[len(text) - width + 1 :]}" if width > 0 else ""


def number(value: float | None, spec: str, factor: float = 1.0) -> str:
    """A number as `spec` formats it; empty where there is none.

    >>> number(0.8812, ".1f", 100), number(None, ".1f")
    ('88.1', '')
    """
    return "" if value is None else format(value * factor, spec)
