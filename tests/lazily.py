"""Libraries that few tests compare with, imported when one of these tests runs and not by every process."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazily:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # pytest asks whatever it finds in a module for `__test__` and `_mock_name`.
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
