"""Checks of the sweep: what else than the train size differs between the runs of one curve.

Each takes runs of schema `RUNS`, of one curve (of one experiment where draws and duplicates are concerned),
those that count; missing cells are told from runs of all states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import polars as pl

from tui_datasize.answers.checks.finding import Finding, Severity, finding, sizes_words
from tui_datasize.runlog.schema import beside_search, is_chosen, were_imported
from tui_datasize.stats.curve import COMING, COUNTED_STATES
from tui_datasize.stats.tuned import options_of, tuned_options
from tui_datasize.text import plural

EVEN_BY = 1.005
"""Budgets whose largest is this many times the smallest, or less, count as equal."""

_MIXED: Mapping[str, tuple[str, Severity]] = MappingProxyType(
    {
        "precision": ("precisions", Severity.WARNING),
        "device": ("devices", Severity.WARNING),
        "threads": ("numbers of threads", Severity.NOTE),
        "pack": ("ways to compute runs together", Severity.NOTE),
        "torch": ("versions of torch", Severity.NOTE),
        "git_commit": ("commits of the project", Severity.NOTE),
    }
)
"""Columns that should have one value within a curve, and in which company a run was computed."""


def check_updates(runs: pl.DataFrame) -> Iterator[Finding]:
    """Runs of one curve that train for unequally many updates."""
    runs = runs.drop_nulls("total_updates")
    if runs.is_empty():
        return
    least, most = _extremes(runs)
    if most > EVEN_BY * least:
        means = runs.group_by("train_size").agg(pl.col("total_updates").mean()).sort("train_size")
        rises = (means["total_updates"].diff().drop_nulls() > 0).all()
        both = "larger sizes also train longer, so the curve shows both"
        reason = both if rises else "the budget is not equal"
        what = f"Runs of this curve make {least:,} to {most:,} updates: {reason}."
        to_do = "Give the budget in updates or samples, and draw batches across epoch ends."
        yield finding(Severity.WARNING, "unequal-updates", runs, what, to_do)


def check_schedule(runs: pl.DataFrame) -> Iterator[Finding]:
    """Learning-rate schedules counted in updates that do not fit the length of every run."""
    for (text,), group in runs.group_by("schedule", maintain_order=True):
        schedule = _schedule(str(text))
        if schedule.get("unit") != "updates":
            continue
        least, most = _extremes(group)
        if most > EVEN_BY * least:
            what = (
                f"The schedule is counted in updates while runs make {least:,} to {most:,} of them: the "
                "sizes do not see one schedule."
            )
            to_do = 'Give its lengths as fractions of the budget (unit = "fraction").'
            yield finding(Severity.WARNING, "schedule-not-scaled", group, what, to_do)
        yield from _check_lengths(group, schedule)


def check_mixed_conditions(runs: pl.DataFrame) -> Iterator[Finding]:
    """Devices, precisions, threads, packs or versions that differ within one curve."""
    width = pl.col("pack_width").fill_null(1)
    together = pl.format("{} {}", width, "pack_implementation")
    runs = runs.with_columns(pack=pl.when(width > 1).then(together).otherwise(pl.lit("alone")))
    for column, (conditions, severity) in _MIXED.items():
        counts = runs.drop_nulls(column).group_by(column).len()
        counts = counts.sort("len", column, descending=[True, False])
        if counts.height < 2:
            continue
        most = counts.head(3).iter_rows()
        named = ", ".join(f"{str(value)[:40]} ({plural(number, 'run')})" for value, number in most)
        per_size = runs.drop_nulls(column).group_by("train_size").agg(pl.col(column).n_unique())
        confounded = per_size[column].max() == 1
        severity = Severity.WARNING if confounded else severity
        apart = "; each size has its own, so their effects cannot be separated" if confounded else ""
        what = f"One curve mixes {conditions}: {named}{apart}."
        to_do = "Run the curve under one condition, or compare sizes that share one."
        yield finding(severity, f"mixed-{column.replace('_', '-')}", runs, what, to_do)
    resumed = runs.filter(pl.col("attempt") > 1)
    if resumed.height and runs["device"].n_unique() > 1:
        what = (
            f"{plural(resumed.height, 'run')} took more than one attempt while the curve ran on several "
            "devices: a run is continued bit for bit on one device only, and the record names the last."
        )
        to_do = "Rerun them with --force where the last digits matter."
        yield finding(Severity.WARNING, "resumed-elsewhere", resumed, what, to_do, names_sizes=True)


def check_missing_cells(runs: pl.DataFrame) -> Iterator[Finding]:
    """Seeds or draws that some sizes have and others lack; runs that are on their way are not lacking."""
    cell = ["seed", "subset_seed"]
    # Of a number that only counts runs no size lacks any.
    runs = runs.filter(pl.col("repeat").is_null())
    counted = runs.filter(pl.col("state").is_in(COUNTED_STATES))
    every = runs.select("train_size").unique().join(runs.select(cell).unique(), how="cross")
    coming = runs.filter(pl.col("state").is_in(COMING))
    missing = every.join(coming, on=["train_size", *cell], how="anti", nulls_equal=True)
    if missing.is_empty() or counted.is_empty():
        return
    sizes = missing["train_size"].unique().sort().to_list()
    concerned = runs.join(missing, on=["train_size", *cell], how="semi", nulls_equal=True)
    failed = concerned.filter(pl.col("state") == "failed").height
    states = f", {failed} of them because a run failed" if failed else ""
    yield finding(
        Severity.WARNING if failed else Severity.NOTE,
        "missing-seeds",
        concerned if concerned.height else counted.filter(pl.col("train_size").is_in(sizes)),
        f"{missing.height} of {every.height} cells (seed and draw at a size) "
        f"{'has' if missing.height == 1 else 'have'} no result{states}: "
        f"{sizes_words(sizes)}. Means over different seeds are compared.",
        "The files lack them: import what there is elsewhere."
        if were_imported(runs)
        else "Queue it again to add them, unless a plan left them out; `retry` reruns failed runs.",
        names_sizes=True,
    )


def check_one_draw(runs: pl.DataFrame) -> Iterator[Finding]:
    """Runs that all share the draw of their size, or may: no interval has what another would change."""
    known = runs.drop_nulls("subset_seed")
    untold = runs.filter(pl.col("subset_seed").is_null())
    if untold.select("variant", "train_size").is_duplicated().any():
        yield finding(
            Severity.NOTE,
            "draws-unknown",
            untold,
            "The files do not say whether runs of a size share their images: intervals and tests may cover "
            "training seeds only.",
            "Import them under another name with --column draw=COLUMN (draw=seed where the seed draws the "
            "images too), or with --draw 0 where all runs of a size share them.",
        )
    sizes = known.group_by("variant", "train_size").agg(pl.len(), pl.col("subset_seed").n_unique())
    if sizes.filter(pl.col("len") > 1).is_empty() or sizes["subset_seed"].max() != 1:
        return
    what = (
        "All runs of a size share one subset draw: intervals and tests cover training seeds only, not other "
        "training images."
    )
    yield finding(Severity.NOTE, "one-draw", runs, what, "Add draws with subset.seeds.")


def means_told(runs: pl.DataFrame) -> Iterator[str]:
    """What rows are that were imported as means over runs; nothing where there are none."""
    means = runs.filter(pl.col("means_of").is_not_null())
    if means.is_empty():
        return
    least, most = means.select(least=pl.col("means_of").min(), most=pl.col("means_of").max()).row(0)
    behind = plural(most, "run") if least == most else f"{least:,} to {most:,} runs"
    untold = means.filter(pl.col("spreads") == "{}").height
    with_sd = f"SD given of {means.height - untold} of them" if untold < means.height else "no SD given"
    rest = "those without it count as one run each" if untold < means.height else "each counts as one run"
    spread = f"{with_sd}: {rest}" if untold else "SD given"
    yield f"{plural(means.height, 'row')} are means of {behind}, {spread}; no single runs."


def check_means(runs: pl.DataFrame) -> Iterator[Finding]:
    """Rows that are means over runs which nobody has here."""
    for told in means_told(runs):
        yield finding(
            Severity.NOTE,
            "means-of-runs",
            runs.filter(pl.col("means_of").is_not_null()),
            f"{told} Extremes, quartiles and outliers are unknown, and the scatter but for the SD.",
            "Import the single runs to see them.",
        )


def _judged_by_test(runs: pl.DataFrame) -> pl.DataFrame:
    """Those without images held out, of which the test set alone tells; none where runs were imported."""
    unseen = runs.filter(pl.col("validation").fill_null(0) == 0)
    return unseen.clear() if were_imported(unseen) else unseen


def check_choosing(runs: pl.DataFrame) -> Iterator[Finding]:
    """Options of the training that the test set alone could choose, or that were tried unequally often."""
    options = tuned_options(runs)
    if not options:
        return
    swept, verb = " and ".join(options), "is" if len(options) == 1 else "are"
    if (unseen := _judged_by_test(runs)).height:
        yield finding(
            Severity.WARNING,
            "chosen-on-test",
            unseen,
            f"{swept} {verb} swept and no images are held out: who takes the best value chooses it on the "
            "test set, whose luck then counts as skill.",
            "Hold images out with validation = 0.2; `tuned` then chooses by them at each size.",
        )
    tried: dict[str, set[str]] = {}
    for variant in runs["variant"].unique():
        rest, setting = options_of(str(variant), options)
        tried.setdefault(rest, set()).add(setting)
    efforts = sorted(len(settings) for settings in tried.values())
    if efforts[0] != efforts[-1]:
        yield finding(
            Severity.WARNING,
            "unequal-effort",
            runs,
            f"{swept} {verb} tried with {efforts[0]} to {efforts[-1]} settings a variant: the best of more "
            "looks better for that alone.",
            "Sweep the same settings for all variants that are compared.",
        )


def check_best(runs: pl.DataFrame) -> Iterator[Finding]:
    """What the weights kept as the best are, where they are not what the last evaluation has measured."""
    others = runs.filter(pl.col("best_test_accuracy") > pl.col("test_accuracy"))
    if (by_test := _judged_by_test(others)).height:
        yield finding(
            Severity.NOTE,
            "best-by-test",
            by_test,
            f"The best weights (best.pt) and best values of {plural(by_test.height, 'run')} are not those of "
            "the last evaluation, and no images are held out: the test set chose them.",
            "Report the last evaluation, or hold images out with validation = 0.2.",
        )
    anew = runs.filter(pl.col("refit_update").is_not_null())
    if anew.height:
        yield finding(
            Severity.NOTE,
            "trained-anew",
            anew,
            f"{plural(anew.height, 'run')} trained anew on all images (refit): best.pt, best and test values "
            "are of these weights, validation values of those before.",
            "No image is left to validate these weights with.",
        )


def check_one_recipe(runs: pl.DataFrame) -> Iterator[Finding]:
    """Variants that are compared by one recipe, tuned for none of them at any size."""
    if beside_search(runs)["variant"].n_unique() < 2 or tuned_options(runs) or were_imported(runs):
        return
    yield finding(
        Severity.NOTE,
        "never-tuned",
        runs,
        "The variants share one recipe at all sizes, tuned for none of them: it may suit one better than "
        "another.",
        'Sweep "optimizer.lr" with validation = 0.2, and compare what is tuned at each size.',
    )


def check_duplicates(runs: pl.DataFrame) -> Iterator[Finding]:
    """Runs of one experiment with equal results under different ids."""
    measured = ["test_loss", "test_accuracy", "train_loss"]
    finite = runs.filter(pl.all_horizontal(pl.col(measured).is_finite()) & (pl.col("test_loss") > 0))
    repeated = finite.filter(pl.struct(measured).is_duplicated())
    # Strategies that begin with the images of one draw have the same run there.
    alike = pl.struct("train_size", "subset_seed", "seed").n_unique() == 1
    apart = pl.col("subset_strategy").n_unique() == pl.len()
    repeated = repeated.filter(~(alike & apart & is_chosen().any()).over(measured))
    if repeated.is_empty():
        return
    groups = repeated.group_by(measured, maintain_order=True)
    seeds = groups.agg(pl.struct("train_size", "subset_seed").n_unique() == 1, pl.col("seed").n_unique() > 1)
    same_images = seeds.filter(pl.col("train_size") & pl.col("seed"))
    reason = "one run was recorded under several ids, or a setting changes nothing"
    if same_images.height:
        reason = "the training seed seems to change nothing"
    what = f"{repeated.height} runs have exactly the losses of another run: {reason}."
    to_do = "Count them once: they make every interval too narrow."
    yield finding(Severity.ERROR, "equal-runs", repeated, what, to_do)


def _check_lengths(runs: pl.DataFrame, schedule: Mapping[str, str]) -> Iterator[Finding]:
    warmup, step = (float(schedule.get(key, 0)) for key in ("warmup", "step"))
    too_short = runs.filter(pl.col("total_updates") <= warmup)
    if warmup and too_short.height:
        what = (
            f"{plural(too_short.height, 'run')} of at most {warmup:,.0f} updates, the length of the warm-up: "
            "the learning rate is never reached."
        )
        to_do = "Give the warm-up as a fraction of the budget."
        yield finding(Severity.ERROR, "warmup-too-long", too_short, what, to_do, names_sizes=True)
    milestones = re.findall(r"\d[\d.]*", schedule.get("milestones", ""))
    first = min([float(update) for update in milestones] or [step])
    unreached = runs.filter(pl.col("total_updates") <= first)
    if first and unreached.height:
        what = (
            f"The learning rate first falls at update {first:,.0f}, after the end of "
            f"{plural(unreached.height, 'run')}."
        )
        to_do = "Give the schedule as fractions of the budget."
        yield finding(Severity.WARNING, "schedule-unreached", unreached, what, to_do, names_sizes=True)


def _schedule(text: str) -> dict[str, str]:
    """Fields of a schedule as the frame `runs` tells it.

    >>> _schedule("name=multistep unit=updates milestones=(20, 40)")
    {'name': 'multistep', 'unit': 'updates', 'milestones': '(20, 40)'}
    """
    return dict(re.findall(r"(\w+)=(\([^)]*\)|\S+)", text))


def _extremes(runs: pl.DataFrame) -> tuple[int, int]:
    updates = pl.col("total_updates")
    least, most = runs.select(updates.min().alias("least"), updates.max().alias("most")).row(0)
    return least, most
