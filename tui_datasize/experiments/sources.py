"""Which finished runs others take their weights or their images from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import ClassHalf, ClassSplit, RunSpec

_RUN_ID = re.compile(r".+-n\d+-d\d+-s\d+-[0-9a-f]{8}")
_OTHER_HALF: Mapping[ClassHalf, ClassHalf] = {"source": "target", "target": "source"}


@dataclass(frozen=True, slots=True)
class Sources:
    """The runs that weights may be taken from, by experiment."""

    runs: Mapping[str, Sequence[RunSpec]]
    where: str

    def resolve(self, spec: RunSpec) -> RunSpec:
        """A run with the source that its recipe names; as it is where it takes no weights.

        Of an experiment, the run with the same model is taken that saw the other half of the classes
        and shares, as far as there is one, the training seed and the subset draw; of several train
        sizes the largest.

        Raises ConfigError: there is no such experiment or run, or more than one fits.
        """
        if spec.transfer is None:
            return spec
        source = spec.transfer.source
        if source in self.runs:
            source = self._choose(spec, self.runs[source]).run_id
        elif not _RUN_ID.fullmatch(source):
            raise ConfigError(
                f"no experiment {source!r}",
                where=self.where,
                fix="name an experiment of this file, or the whole id of a run",
            )
        return replace(spec, transfer=replace(spec.transfer, source=source))

    def _choose(self, spec: RunSpec, candidates: Sequence[RunSpec]) -> RunSpec:
        half = spec.classes.half
        wanted = replace(spec.classes, half=_OTHER_HALF.get(half, half))
        fitting = [c for c in candidates if c.model == spec.model and c.classes == wanted]
        if not fitting:
            raise ConfigError(
                f"no run of {spec.model} on {_words(wanted)} to take weights from",
                where=self.where,
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
                where=self.where,
                fix="name one run",
            )
        return fitting[0]


def _advice(spec: RunSpec, candidates: Sequence[RunSpec]) -> str:
    alike = [c for c in candidates if c.model == spec.model]
    if not alike:
        found = ", ".join(dict.fromkeys(str(c.model) for c in candidates))
        return f"its runs train {found}: give both the same model"
    halves = ", ".join(dict.fromkeys(_words(c.classes) for c in alike))
    return f"its runs saw {halves}: classes of this experiment must be what is left"


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
