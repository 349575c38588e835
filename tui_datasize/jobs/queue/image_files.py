"""What is looked at before runs on image files are queued: the files, and what else has used them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.catalogue import DATASETS, IMAGE_FOLDER, refuse_other_size, refuse_unshown
from tui_datasize.experiments.images.named import named_images
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.text import plural


def check_images(specs: Sequence[RunSpec], data_dir: Path) -> Mapping[str, Sequence[str]]:
    """Refuse image folders that cannot be shown right, and say what is to be told of the others, in clauses.

    Raises DataError: images are bad and not skipped, or differ in size where nothing resizes them.
    """
    told: dict[str, Sequence[str]] = {}
    sizes = {name: (info.size_px, info.size_px) for name, info in DATASETS.items()}
    seen = dict.fromkeys((one.dataset, images) for one in specs for images in named_images(one))
    for beside, (name, role, image_px, reading) in seen:
        if found := refuse_unshown(name, data_dir, reading, image_px, role):
            told[name] = found.told
            if role == "own":
                sizes[name] = found.headers[0][:2]
            elif role == "unlabelled" and beside in sizes and not image_px:
                refuse_other_size(found, beside, *sizes[beside])
    return told


def told_of_images(told: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """A line for each data set of what `check_images` has found."""
    plain = ("every file is an image, shown as it is stored",)
    return [f"{dataset}: {'; '.join(clauses or plain)}" for dataset, clauses in told.items()]


def has_image_files(specs: Sequence[RunSpec]) -> bool:
    """Whether some runs see an image folder, in training or as a further test set."""
    return any(images.name.startswith(IMAGE_FOLDER) for one in specs for images in named_images(one))


def rules_of(specs: Sequence[RunSpec]) -> Mapping[str, int]:
    """By experiment the version of the rules for image files, of those that see some."""
    return {spec.experiment: spec.images.rules for spec in specs if has_image_files([spec])}


def refuse_mixed(wanted: Mapping[str, int], earlier: Sequence[RunSpec]) -> None:
    """Refuse rules for image files other than those by which earlier runs of the experiment read them.

    Raises ConfigError: there are some; it says how to go on.
    """
    for experiment, rules in wanted.items():
        others = [
            one.images.rules
            for one in earlier
            if one.experiment == experiment and one.images.rules != rules and has_image_files([one])
        ]
        if others:
            raise ConfigError(
                f"{plural(len(others), 'run')} read image files by rules {others[0]}, new ones "
                f"would by rules {rules}: they do not compare",
                where=experiment,
                fix=f"set image_rules = {others[0]} to go on as before, or give the experiment another name",
            )
