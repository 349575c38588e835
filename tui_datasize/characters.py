"""Characters of a terminal that has ASCII alone: marks, lines and letters in its forms."""

from __future__ import annotations

import codecs
import io
import os
import unicodedata
from pathlib import Path

_LOCALES = ("LC_ALL", "LC_CTYPE", "LANG")
"""What names the characters of a terminal, the strongest first."""
_FORMS = str.maketrans(
    # Every state and every mark of a chart has a character of its own.
    dict(zip("·○‖◔◐●✗−↻◆◇▲△▼▽■□★☆∙∘✓", ".o=<>@x-~#*AaVvBbSs.,+", strict=True))
    | dict(zip("─━╌┈╸│┃┬┤└├┴┼┌┐┘╭╮╰╯", "-=-.=||+++++++++++++"[:20], strict=True))
    | dict(zip("░▒▓█▁▂▃▄▅▆▇", "`%&#_.,:;!#", strict=True))
    | dict(zip("…–—‘’“”×±≥≤→←↑↓▸›‹≈≠²³°µ", "~--''\"\"x~><><^v))(~/23'u", strict=True))
)
_UPPER_DOTS = 0b00011011
_BRAILLE = 0x2800, 0x28FF


def in_ascii(text: str) -> str:
    """The text in as many columns, of ASCII alone; letters lose their accents, what has no form is `?`.

    >>> in_ascii("◐ 2 running · größer …"), in_ascii("⠒⣀⣿"), in_ascii("数字")
    ('> 2 running . gro?er ~', "'.:", '????')
    """
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _form(c) for c in text.translate(_FORMS))


def _form(character: str) -> str:
    code = ord(character)
    if _BRAILLE[0] <= code <= _BRAILLE[1]:
        dots = code - _BRAILLE[0]
        return " '.:"[bool(dots & _UPPER_DOTS) + 2 * bool(dots & ~_UPPER_DOTS)]
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return ""
    letter = unicodedata.normalize("NFKD", character)[0]
    width = 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return letter if letter.isascii() and width == 1 else "?" * width


def takes_unicode() -> bool:
    """Whether a terminal takes characters beyond ASCII, as far as the locale says; without one it does."""
    try:
        # As the program was started: Python itself replaces the locale C.
        lines = Path("/proc/self/environ").read_text(errors="replace").split("\0")
        began = dict(line.split("=", 1) for line in lines if "=" in line)
    except OSError:
        began = dict(os.environ)
    locale = next((began[name] for name in _LOCALES if began.get(name)), "")
    return not locale or "utf8" in locale.lower().replace("-", "")


def write_plainly(stream: io.TextIOWrapper) -> None:
    """Let a stream write what it cannot encode as an escape; a terminal of ASCII gets ASCII."""
    if stream.isatty() and not takes_unicode():
        codecs.register_error("ascii-forms", _replaced)
        stream.reconfigure(encoding="ascii", errors="ascii-forms")
    else:
        # What the locale of a terminal has no character for, as on stderr.
        stream.reconfigure(errors="backslashreplace")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return in_ascii(error.object[error.start : error.end]), error.end
