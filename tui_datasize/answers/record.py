"""The runs of one experiment, and what is read and computed of them, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial

import polars as pl

from tui_datasize.answers.answer import NOTHING, Asked, Sentence
from tui_datasize.answers.checks.audit import AuditRecord, audit, runs_to_read
from tui_datasize.answers.checks.finding import Finding
from tui_datasize.experiments.costs import NO_COSTS, Costs
from tui_datasize.experiments.spec import CELL, RunSpec
from tui_datasize.experiments.variants import in_words
from tui_datasize.metric import Metric, metric_named
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import drawn_runs, is_chosen
from tui_datasize.stats.curve import points
from tui_datasize.stats.effective import EffectiveData, images_saved
from tui_datasize.stats.ensembles import ensembles_table
from tui_datasize.stats.groups import SizeComparison, VariantComparison, compare_sizes, compare_variants
from tui_datasize.stats.groups_table import groups_table
from tui_datasize.stats.overlap import DrawOverlap, find_draws, find_overlaps
from tui_datasize.stats.paired import Curve, variant_curves
from tui_datasize.stats.pairwise import Difference
from tui_datasize.stats.question import Question
from tui_datasize.stats.search import compared_runs, full_runs, is_alone, runs_of_search
from tui_datasize.stats.summary import CurveAnalysis, analyse_curves
from tui_datasize.stats.variance import VarianceSplit, split_variance
from tui_datasize.text import listed, plural

MOST_COMPARED = 40
"""Runs of one variant and size that are compared with each other; their pairs grow with the square."""
MOST_READ = 400
"""Runs in all whose predictions are read for one answer."""
_CURVES_KEPT = 4
"""Of as many metrics and questions."""
NO_RUN = "No run has succeeded with this metric yet."
NOT_RECORDED = "No run that has succeeded has recorded this; imported runs may lack it."
ONE_VALUE = "This metric has one value a run. Choose another metric."
ONE_EVALUATION = (
    "Each run was evaluated once, at its end. "
    "evaluate = { times = 12 } in experiments.toml evaluates new runs more often."
)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Sizes and variants against each other by one metric, each computed once."""

    runs: pl.DataFrame
    metric: str

    @cached_property
    def sizes(self) -> tuple[SizeComparison, ...]:
        return compare_sizes(self.runs, self.metric)

    @cached_property
    def variants(self) -> tuple[VariantComparison, ...]:
        return compare_variants(self.runs, self.metric)

    @cached_property
    def curves(self) -> Mapping[str, Curve]:
        return variant_curves(points(self.runs, self.metric))

    @cached_property
    def table(self) -> pl.DataFrame:
        """Schema `GROUPS`."""
        return groups_table(self.sizes, self.variants)

    @cached_property
    def saved(self) -> Callable[[str, str, float | None], EffectiveData]:
        """What a variant needs for what another does, and for a target, as of `images_saved`."""
        saved = partial(images_saved, higher_is_better=metric_named(self.metric).higher_is_better)
        return cache(lambda one, other, target: saved(self.curves[one], self.curves[other], target=target))

    def over_all(self, one: str, other: str) -> Difference | None:
        """Two variants over all sizes that both have; None where they cannot be compared."""
        pairs = self.variants[-1].pairs if self.variants else ()
        return next((pair for pair in pairs if {pair.first, pair.second} == {one, other}), None)


@dataclass(frozen=True, eq=False)
class Reading:
    """What is read and computed of the runs of one experiment whatever is asked of them, each once."""

    log: RunLog
    every: pl.DataFrame
    """Schema `RUNS`."""

    @cached_property
    def runs(self) -> pl.DataFrame:
        """Those that no rung of a search has cut short, beside levers none of its candidates."""
        return compared_runs(self.in_full)

    @cached_property
    def in_full(self) -> pl.DataFrame:
        """Those that no rung of a search has cut short."""
        return full_runs(self.every)

    @cached_property
    def of_search(self) -> pl.DataFrame:
        """Those of a search and of its default, of all rungs, named by what sets them apart."""
        return runs_of_search(self.every)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Schema `RUN_METRICS`, of all runs."""
        return self.log.metrics(self.runs["run_id"])

    @cached_property
    def datasets(self) -> pl.DataFrame:
        """Schema `DATASETS`, of one run per draw."""
        return self.log.datasets(runs_to_read(self.runs)[0])

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the audit finds; it reads the images of a run per draw, predictions of one per data set."""
        images, tested = runs_to_read(self.runs)
        subsets, predictions = self.log.table("subsets", images), self.log.table("predictions", tested)
        return audit(AuditRecord(self.runs, subsets, self.datasets, predictions))

    @cached_property
    def draws(self) -> pl.DataFrame:
        """A run for each subset draw of each size, as of `find_draws`."""
        return find_draws(self.runs)

    @cached_property
    def overlaps(self) -> Sequence[DrawOverlap]:
        """Of draws that no training seed has a part in."""
        draws = drawn_runs(self.draws)
        run_ids = draws["run_id"]
        return find_overlaps(draws, self.log.table("subsets", run_ids), self.log.datasets(run_ids))

    @cached_property
    def curves(self) -> Callable[[str, Question], tuple[CurveAnalysis, ...]]:
        """The learning curves of a metric, as of `analyse_curves`; the last ones are kept."""
        return lru_cache(maxsize=_CURVES_KEPT)(partial(analyse_curves, self.runs))

    @cached_property
    def comparisons(self) -> Callable[[str], Comparisons]:
        """What is compared of a metric; the last ones are kept."""
        return lru_cache(maxsize=_CURVES_KEPT)(partial(Comparisons, self.runs))

    @cached_property
    def ensembles(self) -> Callable[[str | None, tuple[int, ...]], tuple[pl.DataFrame, Sequence[str]]]:
        """Ensembles of a variant's runs, or of all, with so many members each; and what is left out."""

        def of(variant: str | None, members: tuple[int, ...]) -> tuple[pl.DataFrame, Sequence[str]]:
            runs, left_out = bounded(self.runs if variant is None else self.runs.filter(variant=variant))
            return ensembles_table(runs, partial(self.log.table, "predictions"), members=members), left_out

        return cache(of)

    def renewed(self, runs: pl.DataFrame) -> Reading:
        """This reading while the runs are the same; otherwise a new one, which keeps what still holds."""
        if runs.equals(self.every):
            return self
        new = Reading(self.log, runs)
        if "overlaps" in vars(self) and new.draws.equals(self.draws):
            vars(new)["overlaps"] = self.overlaps
        return new


@dataclass(frozen=True, eq=False)
class Record:
    """What questions are asked of."""

    reading: Reading
    metric: Metric
    asked: Asked = NOTHING
    sweep: Sequence[RunSpec] = ()
    """All runs of the experiment in experiments.toml."""
    unlisted: str = ""
    """Why they are not known, such as for images that are missing; empty where they are."""
    costs: Costs = NO_COSTS
    """Prices of labels and of GPU hours."""

    @property
    def log(self) -> RunLog:
        return self.reading.log

    @property
    def all_runs(self) -> pl.DataFrame:
        """Schema `RUNS`, those of all variants."""
        return self.reading.runs

    @property
    def experiment(self) -> str:
        """Its name; empty without runs."""
        return str(self.all_runs["experiment"][0]) if self.all_runs.height else ""

    @cached_property
    def runs(self) -> pl.DataFrame:
        """Those of the variant that is asked for, or all."""
        variant = self.asked.variant
        return self.all_runs if variant is None else self.all_runs.filter(variant=variant)

    @cached_property
    def metrics(self) -> pl.DataFrame:
        """Schema `RUN_METRICS`, of `runs`."""
        every = self.reading.metrics
        if self.runs is self.all_runs:
            return every
        return every.join(self.runs, on="run_id", how="semi", maintain_order="left")

    @property
    def all_curves(self) -> tuple[CurveAnalysis, ...]:
        """A learning curve for each variant, with or without runs that count.

        Raises ConfigError: what is asked makes no sense for the metric.
        """
        return self.reading.curves(self.metric.name, self.asked.question())

    @property
    def curves(self) -> tuple[CurveAnalysis, ...]:
        """Those that have runs, of the variant that is asked for or all."""
        wanted = self.asked.variant
        return tuple(c for c in self.all_curves if c.curve.height and wanted in (None, c.variant))

    @cached_property
    def scatter(self) -> tuple[VarianceSplit, ...]:
        """Sources of the variance of each curve; the test set is one where all runs share its size."""
        images, _ = runs_to_read(self.runs)
        per_run = self.log.datasets(images).group_by("run_id").agg(pl.col("test_images").sum())
        sizes = per_run["test_images"].unique().to_list()
        drawn = drawn_runs(self.runs)
        return split_variance(drawn, self.metric.name, sizes[0] if len(sizes) == 1 else None)

    @property
    def left_out(self) -> list[Sentence]:
        """What is said where runs whose images their seed decides are left out."""
        chose = self.runs.filter(is_chosen())["subset_strategy"].unique().sort().to_list()
        if not chose:
            return []
        why = f"Runs of {listed(chose)} are left out: which images they have depends on the training seed."
        return [Sentence(why, "note")]

    @property
    def without_result(self) -> list[Sentence]:
        """Variants that no answer has, since runs of theirs failed."""
        is_in = {state: (pl.col("state") == state).sum() for state in ("succeeded", "failed")}
        counts = self.all_runs.group_by("variant", maintain_order=True).agg(pl.len(), **is_in)
        return [
            Sentence(f"{variant or 'base'} has no result: {failed:,} of {plural(n_runs, 'run')} failed.")
            for variant, n_runs, succeeded, failed in counts.iter_rows()
            if failed and not succeeded
        ]

    @property
    def comparisons(self) -> Comparisons:
        """Of all variants."""
        return self.reading.comparisons(self.metric.name)

    def images_of(self, runs: pl.DataFrame) -> Sequence[int]:
        """Images of each class that some runs of one variant have to train on; empty where unknown."""
        datasets = self.reading.datasets.join(runs, on="run_id", how="semi").drop_nulls("train_images")
        one = datasets.filter(run_id=datasets["run_id"][0]) if datasets.height else datasets
        return one["train_images"].to_list()

    @property
    def counted(self) -> str:
        rows = [curve.points for curve in self.curves]
        used = sum(found["run_id"].n_unique() for found in rows)
        left = self.runs.height - used
        others = f", {left:,} unfinished or without this metric" if left else ""
        short = self.reading.every.height - self.all_runs.height
        of_what = "earlier rungs" if is_alone(self.all_runs) else "the search"
        others += f", {short:,} of {of_what} left out" if short else ""
        means = [found.filter("of_mean") for found in rows]
        if n_means := sum(found["run_id"].n_unique() for found in means):
            behind = sum(found.height for found in means)
            both = f"{plural(n_means, 'mean')} of {plural(behind, 'run')}"
            alone = used - n_means
            return f"{' and '.join([both, *([plural(alone, 'run')] if alone else [])])} used{others}"
        return f"{plural(used, 'run')} used{others}"

    def of_variant(self, variant: str) -> Record:
        return replace(self, asked=replace(self.asked, variant=variant))


def per_variant(runs: pl.DataFrame) -> Iterable[tuple[str, pl.DataFrame]]:
    """Variants in the order in which they come, each with its rows."""
    for group in runs.partition_by("variant", maintain_order=True):
        yield str(group["variant"][0]), group


def said_plainly(runs: pl.DataFrame) -> dict[str, str]:
    """Variants as a person would say them, each apart from the others."""
    sources = runs.group_by("variant").agg(pl.col("transfer_source").drop_nulls().first()).iter_rows()
    words = {variant: in_words(variant, CELL.sub("", source or "")) for variant, source in sources}
    return words if len(set(words.values())) == len(words) else {variant: variant for variant in words}


def named(variant: str, text: str) -> str:
    """A sentence or title with whose it is."""
    return f"{variant}: {text}" if variant else text


def said_once(texts: Iterable[tuple[str, str]]) -> list[str]:
    """Texts with whose they are; what several variants share is said once, with their number.

    >>> said_once([("mlp", "No seeds."), ("cnn3", "No seeds."), ("mlp", "Falls.")])
    ['2 variants: No seeds.', 'mlp: Falls.']
    """
    whose: dict[str, list[str]] = {}
    for variant, text in texts:
        whose.setdefault(text, []).append(variant)
    return [
        named(variants[0] if len(variants) == 1 else plural(len(variants), "variant"), text)
        for text, variants in whose.items()
    ]


def largest_size(runs: pl.DataFrame) -> pl.DataFrame:
    """The finished runs of the largest train size of each variant."""
    size = pl.col("train_size")
    return runs.filter(state="succeeded").filter(size == size.max().over("variant"))


def chosen_size(table: pl.DataFrame, asked: Asked) -> tuple[int, int]:
    """The train size that is asked for, counted from the largest, and how many there are."""
    sizes = table["train_size"].unique().sort()
    return int(sizes[(len(sizes) - 1 + asked.size) % len(sizes)]), len(sizes)


def bounded(runs: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The runs whose predictions are read; a sentence, where others are left out."""
    kept = runs.group_by("variant", "train_size", maintain_order=True).head(MOST_COMPARED).head(MOST_READ)
    if kept.height == runs.height:
        return runs, []
    return kept, [
        f"{kept.height:,} of {runs.height:,} runs compared: the first {MOST_COMPARED} of each train size, "
        f"at most {MOST_READ}."
    ]


def numbers(values: Iterable[float | None], by: float = 1.0) -> list[float | None]:
    """Values times a factor; None where there is none."""
    return [None if value is None else value * by for value in values]
