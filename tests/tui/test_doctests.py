"""The examples in the docstrings of the app's pure modules."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ("chart_scale", "curves", "eta", "live_charts", "text")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str):
    result = doctest.testmod(importlib.import_module(f"tui_datasize.tui.{name}"))
    assert result.attempted
    assert not result.failed
