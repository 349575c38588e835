"""The package as it is written, read and parsed once for all tests of its texts."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import tui_datasize

PACKAGE = Path(tui_datasize.__file__).parent


@cache
def parsed() -> Mapping[str, ast.Module]:
    """Every module, by its path below the package."""
    return {
        file.relative_to(PACKAGE).as_posix(): ast.parse(file.read_text())
        for file in sorted(PACKAGE.rglob("*.py"))
    }
