"""Which finished runs others take their weights or their images from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import CELL, ClassHalf, ClassSplit, RunSpec

_OTHER_HALF: Mapping[ClassHalf, ClassHalf] = {"source": "target", "target": "source"}


@dataclass(frozen=True, slots=True)
class Sources:
    """The runs that weights may be taken from, by experiment."""

    runs: Mapping[str, Sequence[RunSpec]]
    where: str

    def resolve(self, spec: RunSpec) -> RunSpec:
        """A run with the sources that its recipe names; as it is where it names none.

        Of an experiment, the run with the same model is taken that saw the other half of the classes (where
        it learned without labels, the same classes) and shares, as far as there is one, the training seed
        and the subset draw; of several train sizes the largest. Features are of one run, whatever the seed
        and the draw.

        Raises ConfigError: there is no such experiment or run, more than one fits, or it does not suit.
        """
        if spec.subset.features:
            network = self._network(spec).run_id
            spec = replace(spec, subset=replace(spec.subset, features=network))
        if spec.transfer is None:
            return spec
        source = spec.transfer.source
        if source not in self.runs:
            self._refuse_unknown(source, "transfer.from")
            return spec
        found = self._choose(spec, self.runs[source])
        transfer = replace(spec.transfer, source=found.run_id, task=found.task.name)
        return replace(spec, transfer=transfer)

    def _refuse_unknown(self, source: str, key: str) -> None:
        if not CELL.search(source):
            raise ConfigError(
                f"no experiment {source!r}",
                where=f"{self.where}.{key}",
                fix="name an experiment of this file, or the whole id of a run",
            )

    def _network(self, spec: RunSpec) -> RunSpec:
        """The run whose features a strategy chooses by: the first of the largest size."""
        named, where = spec.subset.features, f"{self.where}.subset.features"
        if named not in self.runs:
            raise ConfigError(
                f"no experiment {named!r}",
                where=where,
                fix="name one of this file with a task",
            )
        candidates = self.runs[named]
        if any(run.task.has_labels for run in candidates):
            raise ConfigError(
                f"{named} learns from labels, which must not choose images",
                where=where,
                fix='name an experiment with task = "rotation" or "simclr"',
            )
        seen = (spec.dataset, spec.classes, spec.image_px, spec.images)
        fitting = [run for run in candidates if (run.dataset, run.classes, run.image_px, run.images) == seen]
        if not fitting:
            raise ConfigError(
                f"{named} did not see the images of this experiment",
                where=where,
                fix="give both the same dataset, classes, image_px and reading of images",
            )
        return max(fitting, key=lambda run: run.train_size)

    def _choose(self, spec: RunSpec, candidates: Sequence[RunSpec]) -> RunSpec:
        where = f"{self.where}.transfer.from"
        half = spec.classes.half
        # Who learns without labels sees the images that are labelled later, not those of other classes.
        is_labelled = candidates[0].task.has_labels
        wanted = replace(spec.classes, half=_OTHER_HALF.get(half, half) if is_labelled else half)
        fitting = [c for c in candidates if c.model == spec.model and c.classes == wanted]
        if not fitting:
            raise ConfigError(
                f"no run of {spec.model} on {_words(wanted)} to take weights from",
                where=where,
                fix=_advice(spec, candidates),
            )
        fitting = _prefer(fitting, lambda c: c.seed == spec.seed)
        fitting = _prefer(fitting, lambda c: c.subset.seed == spec.subset.seed)
        largest = max(c.train_size for c in fitting)
        fitting = [c for c in fitting if c.train_size == largest]
        if len(fitting) > 1:
            named = ", ".join(c.run_id for c in fitting[:3])
            raise ConfigError(
                f"{len(fitting)} runs could be the source of seed {spec.seed}: {named}",
                where=where,
                fix="name one run",
            )
        return fitting[0]


def _advice(spec: RunSpec, candidates: Sequence[RunSpec]) -> str:
    alike = [c for c in candidates if c.model == spec.model]
    if not alike:
        found = ", ".join(dict.fromkeys(str(c.model) for c in candidates))
        return f"its runs train {found}: give both the same model"
    halves = ", ".join(dict.fromkeys(_words(c.classes) for c in alike))
    must = "what is left" if alike[0].task.has_labels else "the same"
    return f"its runs saw {halves}: classes of this experiment must be {must}"


def _prefer(runs: list[RunSpec], fits: Callable[[RunSpec], bool]) -> list[RunSpec]:
    return [run for run in runs if fits(run)] or runs


def _words(classes: ClassSplit) -> str:
    return "all classes" if classes.half == "all" else f"the {classes.half} half of split {classes.seed}"


def needed(specs: Sequence[RunSpec], known: Mapping[str, RunSpec]) -> tuple[RunSpec, ...]:
    """The known runs that others take weights from, directly or not, sources first.

    Runs before them on a path are known, and are left out where they are among the others.
    """
    own = {spec.run_id for spec in specs if spec.subset.path}
    found: dict[str, RunSpec] = {}
    for spec in specs:
        direct = [known[source] for source in spec.sources if source in known]
        direct += [before] if (before := spec.before) and before.run_id not in known else []
        found |= {run.run_id: run for run in (*needed(direct, known), *direct) if run.run_id not in own}
    return tuple(found.values())


def in_order_of_paths(specs: Iterable[RunSpec]) -> dict[str, RunSpec]:
    """By id the runs in their order, but each behind those before it on its path."""
    runs = {spec.run_id: spec for spec in specs}
    ordered: dict[str, RunSpec] = {}
    for run_id, spec in runs.items():
        behind, before = {run_id: spec}, spec.before
        while before and before.run_id not in ordered:
            behind[before.run_id], before = before, before.before
        ordered |= {one: runs[one] for one in reversed(behind) if one in runs}
    return ordered
