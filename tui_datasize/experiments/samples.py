"""Project files to begin with, which come with the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal


def text_of_file(name: Literal["demo.toml", "template.toml"]) -> str:
    """The demonstration, or a template whose experiment is to be filled in."""
    return files("tui_datasize.experiments").joinpath(name).read_text(encoding="utf-8")
