"""The files that an experiment names beside its own images: groups, further test sets, weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tui_datasize.errors import ConfigError, DataError, DatasizeError
from tui_datasize.experiments.architectures import TIMM
from tui_datasize.experiments.catalogue import known_classes, refuse_tests, walked
from tui_datasize.experiments.groups import refuse_groups
from tui_datasize.experiments.images.named import named_images
from tui_datasize.experiments.load import Experiment, Project
from tui_datasize.experiments.synthetic import refuse_inside, refuse_other_classes
from tui_datasize.files import named_path, open_regular

_LEARNED = ("unlabelled", "synthetic")


def wrong_files(
    experiment: Experiment, project: Project, *, has_images: bool = True
) -> Iterator[DatasizeError]:
    """What is wrong with each of them; without images of its own, test sets are compared with none."""
    try:
        refuse_groups(experiment, project.file)
    except ConfigError as error:
        yield error
    specs = [recipe.spec for recipe in experiment.recipes]
    of_timm = {spec.model.options.get("weights") for spec in specs if spec.model.name.startswith(TIMM)}
    for file in sorted(str(one) for one in of_timm if one):
        try:
            open_regular(named_path(file)).close()
        except (OSError, ValueError) as error:
            where = f"{experiment.where}.model.weights"
            yield ConfigError.of(error, f"{file!r} cannot be read", where=where, fix="correct the path")
    reading = experiment.reading(experiment.recipes[0])
    beside = {(one.role, one.name) for spec in specs for one in named_images(spec) if one.role in _LEARNED}
    for role, source in sorted(beside):
        try:
            with named_in(f"{experiment.where}.{role}.from"):
                found = walked(source, project.data_dir, reading.of_learned, role)
                if role == "synthetic" and has_images:
                    refuse_inside(source, experiment.dataset, project.data_dir)
                    known = known_classes(experiment.dataset, project.data_dir, reading)
                    needed = [name for name in known if all(spec.classes.half == "all" for spec in specs)]
                    refuse_other_classes(source, found.class_names, known, needed)
        except DataError as error:
            yield error
    for name, tests in sorted({test for spec in specs for test in spec.tests}):
        try:
            with named_in(f"{experiment.where}.tests.{name}"):
                own = experiment.dataset if has_images else None
                refuse_tests(tests, own, project.data_dir, reading)
        except DataError as error:
            yield error


@contextmanager
def named_in(where: str) -> Iterator[None]:
    """While inside, an error of images tells which key of the file names them."""
    try:
        yield
    except DataError as error:
        where = f"{where}: {error.where}" if error.where else where
        raise DataError(error.what, where=where, fix=error.fix) from None
