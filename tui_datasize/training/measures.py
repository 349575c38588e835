"""What torchmetrics measures of classifications, without what it imports for the sake of sounds.

Its package looks for one name in `scipy.signal`, for other packages' sake; to import that takes a second of
processor time and most of SciPy, which no training needs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_SIGNAL = "scipy.signal"


@contextmanager
def _without_signal() -> Iterator[None]:
    """Have a module stand in for the one that is looked at and not used."""
    stand_in = ModuleType(_SIGNAL)
    vars(stand_in)["hamming"] = None
    found = sys.modules.setdefault(_SIGNAL, stand_in)
    try:
        yield
    finally:
        if found is stand_in:
            del sys.modules[_SIGNAL]


try:
    with _without_signal():
        from torchmetrics.functional import classification
except (AttributeError, ImportError):
    # A version that uses more of it.
    from torchmetrics.functional import classification

__all__ = ["classification"]
