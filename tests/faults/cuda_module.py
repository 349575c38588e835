"""Stands in for a module that initialises CUDA when it is imported: nothing may be forked behind it."""

import sys
from types import ModuleType, SimpleNamespace

torch = ModuleType("torch")
torch.cuda = SimpleNamespace(is_initialized=lambda: True)  # type: ignore[attr-defined]
sys.modules["torch"] = torch
