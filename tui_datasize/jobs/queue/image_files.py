"""What is looked at before runs on image files are queued: the files, and what else has used them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.catalogue import IMAGE_FOLDER, refuse_unshown
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.text import plural


def check_images(specs: Sequence[RunSpec], data_dir: Path) -> Mapping[str, Sequence[str]]:
    """Refuse image folders that cannot be shown right, and say what is to be told of the others, in clauses.

    Raises DataError: images are bad and not skipped, or differ in size where nothing resizes them.
    """
    told: dict[str, Sequence[str]] = {}
    named = [(one.dataset, one.image_px, one.images, False) for one in specs]
    named += [(tests, 0, one.images, True) for one in specs for _, tests in one.tests]
    for dataset, image_px, reading, are_tests in dict.fromkeys(named):
        if found := refuse_unshown(dataset, data_dir, reading, image_px, are_tests=are_tests):
            told[dataset] = found.told
    return told


def has_image_files(specs: Sequence[RunSpec]) -> bool:
    """Whether some runs see an image folder, in training or as a further test set."""
    return any(
        name.startswith(IMAGE_FOLDER)
        for spec in dict.fromkeys((one.dataset, *(test for _, test in one.tests)) for one in specs)
        for name in spec
    )


def refuse_mixed(specs: Sequence[RunSpec], earlier: Sequence[RunSpec]) -> None:
    """Refuse runs that read image files by other rules than earlier ones of the same experiment.

    Raises ConfigError: there are some; it says how to go on.
    """
    wanted = {spec.experiment: spec.images.rules for spec in specs if has_image_files([spec])}
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
