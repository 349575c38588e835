"""docs/experiments.md names everything that experiments.toml knows."""

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from tui_datasize.experiments.architectures import MODELS
from tui_datasize.experiments.catalogue import DATASETS
from tui_datasize.experiments.recipe import recipe_keys
from tui_datasize.experiments.schedule import ScheduleName
from tui_datasize.experiments.spec import AugmentationSpec
from tui_datasize.metric import METRICS_OFFERED

REFERENCE = Path(__file__).parents[2] / "docs" / "experiments.md"
WORDS = {
    "recipe keys": recipe_keys(),
    "data sets": DATASETS.keys(),
    "models": MODELS.keys(),
    "options": {option for info in MODELS.values() for option in info.options},
    "augmentation": {f.name for f in fields(AugmentationSpec)},
    "schedules": set(get_args(ScheduleName)),
    "metrics": {name.removeprefix("test_").removeprefix("train_") for name in METRICS_OFFERED},
}


@pytest.mark.parametrize("kind", WORDS)
def test_the_reference_names_all(kind):
    named = set(re.findall(r"[\w.-]+", REFERENCE.read_text()))
    assert sorted(set(WORDS[kind]) - named) == []
