"""An experiment that is being filled in: what it would be, what it costs, and what is wrong so far."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tui_datasize.errors import ConfigError, DataError, DatasizeError
from tui_datasize.experiments.architectures import MODELS, TORCHVISION, TORCHVISION_MODELS
from tui_datasize.experiments.budget import total_updates
from tui_datasize.experiments.catalogue import (
    ARRAYS,
    DATASETS,
    IMAGE_FOLDER,
    DatasetInfo,
    dataset_info,
    image_folder,
    refuse_unshown,
)
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.experiments.images.walk import SUFFIXES
from tui_datasize.experiments.load import SIZE_UNITS, Experiment, Project, read_experiment
from tui_datasize.experiments.project_tables import DATA_VARIABLE
from tui_datasize.experiments.recipe import BUDGET_UNITS
from tui_datasize.experiments.rungs import with_promoted
from tui_datasize.experiments.search import DEFAULT
from tui_datasize.experiments.search_form import OWN_KEYS
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import check_runs, plan_runs
from tui_datasize.experiments.sweep_form import (
    HINTS,
    USUAL,
    SweepForm,
    dataset_of,
    folder_of,
    form_rows,
    table_of,
    usual_name,
    usual_sizes,
)
from tui_datasize.experiments.typed_values import as_typed, terms_of
from tui_datasize.files import named_path
from tui_datasize.text import plural

_USUAL_SPLIT = 0.2
_MOST_MADE = 5_000
"""Runs that are made to tell how long they take."""
_MOST_LOOKED_AT = 20_000
"""Images whose headers are read while a form is filled in."""
_MOST_OFFERED = 50
_FOLDERS_TRIED, _FILES_TRIED = 40, 20


@dataclass(frozen=True, slots=True)
class Draft:
    """What the fields of a form mean together."""

    form: SweepForm
    """With what empty fields stand for."""
    table: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """As it would be written into the file."""
    experiment: Experiment | None = None
    """None where the table is wrong."""
    info: DatasetInfo | None = None
    """None where the data set is not known."""
    sizes: int = 0
    runs: tuple[RunSpec, ...] = ()
    """All of them; none of thousands."""
    images: int = 0
    """That all runs train on together."""
    paths: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What the file is to say of paths, too."""
    data_dir: Path = Path()
    """Where the images lie."""
    remark: str = ""
    problem: str = ""
    wrong: str = ""
    """The field that has it."""


@dataclass(frozen=True, slots=True)
class FolderImages:
    """Images of a folder, and how they are read."""

    dataset: str
    data_dir: Path
    count: int
    ways: tuple[tuple[ImageReading, int], ...]
    """With the side to which they are resized."""


def draft_of(form: SweepForm, project: Project, written: Mapping[str, Any]) -> Draft:
    """Look at what is filled in, over the table that is there; what is wrong with it is part of the draft.

    Folders of images are listed.
    """
    draft = Draft(form.over(replace(USUAL, title=str(written.get("title", "")))))
    try:
        root, dataset = project.file.parent.absolute(), form.dataset.strip()
        if folder := folder_of(dataset, root, project.data_dir):
            is_own = folder.is_relative_to(root) and not folder.is_relative_to(project.data_dir)
            if is_own and _begins(project):
                project = replace(project, data_dir=root)
                draft = replace(draft, paths={"data": "."})
            dataset = dataset_of(folder, root, project.data_dir)
        draft = replace(draft, data_dir=project.data_dir)
        if not dataset:
            raise ConfigError("name one, or the folder of your images", where="dataset")
        name = form.name or usual_name(dataset, project.names)
        if name not in project.names and (twin := _twin(name, project.names)):
            raise ConfigError(f"{name!r} and {twin!r} are one name", where="name", fix="give it another")
        draft = replace(draft, form=replace(draft.form, name=name))
        draft = _with_images(_with_validation(draft), dataset, project)
        assert draft.info is not None
        sizes = form.sizes or usual_sizes(draft.info)
        draft = replace(draft, form=replace(draft.form, sizes=sizes))
        return _counted(_read(draft, dataset, written), project)
    except DatasizeError as error:
        return _wrong(draft, error, *_place_of(error, draft.form))


def _twin(name: str, names: Sequence[str]) -> str:
    """The name that some file systems would take for it."""
    return next((one for one in names if one.lower() == name.lower()), "")


def _begins(project: Project) -> bool:
    """Whether nothing is said yet of where its images lie."""
    return not project.file.exists() and not os.environ.get(DATA_VARIABLE)


def _with_validation(draft: Draft) -> Draft:
    """With images held out where a search has none to choose by."""
    form = draft.form
    if not form.search or any(key == "validation" for key, _ in terms_of(form.options)):
        return draft
    options = f"{form.options} validation={_USUAL_SPLIT}".strip()
    remark = f"a fifth of each subset is held out to choose by (validation={_USUAL_SPLIT})"
    return replace(draft, form=replace(form, options=options), remark=remark)


def _with_images(draft: Draft, dataset: str, project: Project) -> Draft:
    """With what is known of the data set; a folder without images for testing is split."""
    form = draft.form
    experiment = read_experiment(form.name, table_of(replace(form, sizes="1"), dataset, {}))
    reading = experiment.reading(experiment.recipes[0])
    try:
        return replace(draft, info=dataset_info(dataset, project.data_dir, reading))
    except DataError as error:
        if reading.split or not _has_classes(dataset, project):
            raise
        with suppress(DataError):
            info = dataset_info(dataset, project.data_dir, replace(reading, split=_USUAL_SPLIT))
            options = f"{form.options} split={_USUAL_SPLIT}".strip()
            split = f"no images for testing: a fifth of each class is kept for it (split={_USUAL_SPLIT})"
            remark = "\n".join(filter(None, (split, draft.remark)))
            return replace(draft, info=info, form=replace(form, options=options), remark=remark)
        raise error


def _has_classes(dataset: str, project: Project) -> bool:
    """Whether there are folders with images below a folder: another may hold the whole disk."""
    if not dataset.startswith(IMAGE_FOLDER):
        return False
    with suppress(OSError):
        below = sorted(image_folder(dataset, project.data_dir).iterdir())[:_FOLDERS_TRIED]
        inside = (islice(one.iterdir(), _FILES_TRIED) for one in below if one.is_dir())
        return sum(any(file.name.lower().endswith(SUFFIXES) for file in files) for files in inside) > 1
    return False


def _read(draft: Draft, dataset: str, written: Mapping[str, Any]) -> Draft:
    table = table_of(draft.form, dataset, written)
    return replace(draft, table=table, experiment=read_experiment(draft.form.name, table))


def _counted(draft: Draft, project: Project) -> Draft:
    """With its runs, checked against the images."""
    experiment = draft.experiment
    assert experiment is not None
    everything = replace(
        project, experiments={**project.experiments, experiment.name: experiment}, names=project.names
    )
    sizes = check_runs(experiment, everything)
    first = replace(experiment, seeds=experiment.seeds[:1], subset_seeds=experiment.subset_seeds[:1], also=())
    alike = len(experiment.seeds) * len(experiment.subset_seeds)
    planned = with_promoted(first, plan_runs(first, everything))
    images = sum(total_updates(run) * run.batch_size for run in planned) * alike
    is_made = experiment.n_runs <= _MOST_MADE
    runs = with_promoted(experiment, plan_runs(experiment, everything)) if is_made else ()
    return replace(draft, sizes=len(sizes), runs=runs, images=images)


def folder_images(draft: Draft) -> FolderImages | None:
    """The images of a folder that are to be looked at; none of very many, for which queueing has time."""
    info, experiment = draft.info, draft.experiment
    if draft.problem or not experiment or not info or not info.name.startswith(IMAGE_FOLDER):
        return None
    count = info.train_images + info.test_images
    ways = dict.fromkeys((experiment.reading(one), one.spec.image_px) for one in experiment.recipes)
    if count > _MOST_LOOKED_AT:
        return None
    return FolderImages(info.name, draft.data_dir, count, tuple(ways))


def wrong_images(images: FolderImages) -> DataError | None:
    """What is wrong with images of a folder; they are opened, which may take a while."""
    try:
        for reading, image_px in images.ways:
            refuse_unshown(images.dataset, images.data_dir, reading, image_px)
    except DataError as error:
        return error
    return None


def with_wrong(draft: Draft, error: DataError) -> Draft:
    """The draft with what is wrong with its images, in the field that may mend it."""
    is_option = "image_px" in error.fix or "on_bad_image" in error.fix
    return _wrong(draft, error, "options" if is_option else "dataset")


def _wrong(draft: Draft, error: DatasizeError, field: str, key: str = "") -> Draft:
    where = Path(error.where) if "/" in error.where else Path()
    # An image is one of its class.
    place = "/".join(where.parts[-2:]) if where.name.lower().endswith(SUFFIXES) else where.name
    place = place or key * (key not in error.what)
    # Of a path the end is enough: the folder is in the form.
    told = re.sub(r"(?<!\S)/\S+/(?=[^/\s]+/[^/\s]+)", "", error.what)
    what = "; ".join(filter(None, (": ".join(filter(None, (place, told))), error.fix)))
    return replace(draft, problem=f"{LABELS.get(field, field)}: {what}", wrong=field)


LABELS: Mapping[str, str] = MappingProxyType({"dataset": "data set"})
"""What a field is called where that is not its name."""
_FIELDS = MappingProxyType(
    dict.fromkeys(SIZE_UNITS, "sizes")
    | {"subset.seeds": "draws", "model.name": "model", "seeds": "seeds", "budget": "budget"}
    # Of that the budget takes one at least.
    | {"batch_size": "budget"}
)


def _place_of(error: DatasizeError, form: SweepForm) -> tuple[str, str]:
    """The field that holds the key, or the path, that an error names, and which of its keys that is."""
    key = error.where.strip(".")
    if "/" in key or (isinstance(error, DataError) and not key):
        return ("dataset" if isinstance(error, DataError) else "options"), ""
    for name in reversed(_OF_TERMS):
        own = key.removeprefix(f"{name}.")
        with suppress(ConfigError):
            for term, _ in terms_of(getattr(form, name)):
                # Of a key that is not known the place is its table.
                unknown = repr(term.removeprefix(f"{own}." if own else ""))
                if f"{own}.".startswith(f"{term}.") or unknown in error.what:
                    return name, term
        if own != key or key == name:
            return name, own.removeprefix(name)
    if not key:
        return ("levers" if form.levers else "sweep"), ""
    found = next((field for own, field in _FIELDS.items() if f"{key}.".startswith(f"{own}.")), key)
    return (found if found in HINTS else "options"), ""


def form_completions(name: str, text: str, form: SweepForm, project: Project) -> list[str]:
    """What a field may go on as: whole texts, that of the field as it stands left out."""
    if name == "dataset":
        found = [one for one in DATASETS if one.startswith(text)] + _folders(text, project)
    elif name == "model":
        known = (*MODELS, *(f"{TORCHVISION}{one}" for one in TORCHVISION_MODELS))
        found = [one for one in known if one.startswith(text)]
    elif name == "budget":
        amount, _, word = text.partition(" ")
        found = [f"{amount} {unit}" for unit in BUDGET_UNITS if amount and unit.startswith(word)]
    elif name in _OF_TERMS:
        before, space, term = text.rpartition(" ")
        found = [f"{before}{space}{one}" for one in _keys_and_values(name, term, form, project)]
    else:
        found = []
    return [one for one in found if one != text][:_MOST_OFFERED]


def _folders(text: str, project: Project) -> list[str]:
    """Directories that a path, which is relative to the project or to the data sets, may go on as."""
    typed = text.removeprefix(IMAGE_FOLDER)
    bases = (project.data_dir,) if typed != text else (project.file.parent, project.data_dir)
    found = dict.fromkeys(one for base in bases for one in folders(typed, base))
    return [f"{text.removesuffix(typed)}{one}" for one in found if one not in _NOT_IMAGES]


def folders(text: str, base: Path, *, with_files: bool = False) -> list[str]:
    """What a path may go on as, those that begin with a dot left out unless it does."""
    above, slash, begun = text.rpartition("/")
    with suppress(OSError, ValueError):
        inside = sorted(named_path(f"{above}{slash}" or ".", base).iterdir())
        fits = (one for one in inside if one.name.startswith(begun) and (begun or one.name[0] != "."))
        return [f"{above}{slash}{one.name}" for one in fits if with_files or one.is_dir()]
    return []


_NOT_IMAGES = frozenset({"runs", "notes", ARRAYS})
"""Directories of a project itself."""


_OF_TERMS = ("options", "sweep", "levers", "search")
"""Fields of `key=value`."""


def _keys_and_values(name: str, term: str, form: SweepForm, project: Project) -> list[str]:
    key, equals, typed = term.partition("=")
    known = dict(form_rows(form.model or USUAL.model))
    if not equals:
        own = (one if one[-1] == "." else f"{one}=" for one in (OWN_KEYS if name == "search" else ()))
        table = f"{DEFAULT}." if name == "search" and key.startswith(f"{DEFAULT}.") else ""
        return [
            one for one in (*own, *(f"{table}{one}=" for one in known)) if one.startswith(key) and one != key
        ]
    before, comma, begun = typed.rpartition(",")
    row = known.get(key.removeprefix(f"{DEFAULT}."))
    words: Sequence[str] = row.choices if row else ()
    words = project.names if key == "transfer.from" else words
    words = ("true", "false") if row and row.kind is bool else words
    return [f"{key}={before}{comma}{word}" for word in words if word.startswith(begun)]


def meaning(name: str, term: str, form: SweepForm) -> str:
    """What the key of a term of a field is, in a few words; empty where it has none."""
    if name not in _OF_TERMS:
        return ""
    key = term.partition("=")[0]
    row = dict(form_rows(form.model or USUAL.model)).get(key)
    if row is None:
        words = next((words for own, words in OWN_KEYS.items() if f"{key}.".startswith(own)), "")
        return f"{key}: {words}" if words and name == "search" else ""
    has_value = isinstance(row.default, bool | int | float | str) and row.default != ""
    return f"{key}{f' [{as_typed(row.default)}]' if has_value else ''}: {row.key.meaning}"


def told(draft: Draft) -> list[str]:
    """Lines about the images and the runs, as far as they are known."""
    lines, info, experiment = [], draft.info, draft.experiment
    if info:
        classes = plural(info.classes, "class", "classes")
        images = f"{info.train_images:,} images to train on, {info.test_images:,} to test"
        lines.append(f"{info.title}: {classes}, {images}")
    if draft.remark:
        lines.append(draft.remark)
    if experiment and draft.sizes:
        variants, search = len(experiment.recipes), experiment.search
        parts = [plural(draft.sizes, "size"), plural(len(experiment.seeds), "seed")]
        parts.append(plural(len(experiment.subset_seeds), "draw"))
        if search:
            default = DEFAULT if len(search.defaults) == 1 else f"{len(search.defaults)} {DEFAULT}s"
            levers = [plural(len(search.levers), "lever")] if search.levers else []
            parts.append(f"({' + '.join((default, *levers, *map(str, search.kept)))})")
        elif variants > 1:
            parts.append(plural(variants, "variant"))
        runs = plural(experiment.n_runs, "run")
        lines += [f"{runs} = {' x '.join(parts)}", f"{draft.images:,} images trained on"]
    return lines
