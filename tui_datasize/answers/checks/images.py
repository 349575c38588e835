"""Checks of the images: classes that a subset lacks, test images in training, data that changed.

`runs` have schema `RUNS` and are of one experiment.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tui_datasize.answers.checks.finding import Finding, Severity, finding, sizes_words
from tui_datasize.runlog.schema import is_chosen
from tui_datasize.stats.overlap import find_leaks
from tui_datasize.text import plural

_MOST_PAIRS = 3
_START_LATER = "Begin the path at a larger size: draws by class would need the labels of all images."


def check_missing_classes(
    runs: pl.DataFrame, subsets: pl.DataFrame, datasets: pl.DataFrame
) -> Iterator[Finding]:
    """Classes of the data set of which a subset holds no image.

    `subsets` has `run_id`, `label`, `datasets` schema `DATASETS`; both of one run per draw.
    """
    # Label noise may leave a class without a label of its own that has images all the same.
    label = pl.coalesce("true_label", "label") if "true_label" in subsets.columns else pl.col("label")
    held = subsets.select("run_id", label.alias("label")).unique()
    expected = datasets.filter(pl.col("train_images") > 0).join(held.select("run_id").unique(), on="run_id")
    missing = expected.join(held, on=["run_id", "label"], how="anti")
    concerned = runs.join(missing, on="run_id", how="semi")
    if concerned.is_empty():
        return
    lacking = missing.filter(pl.col("run_id").is_in(concerned["run_id"].implode()))
    per_draw = lacking.group_by("run_id").len()["len"]
    least, most = int(str(per_draw.min())), int(str(per_draw.max()))
    number = plural(most, "class", "classes") if least == most else f"{least} to {most} classes"
    draws = plural(concerned.height, "subset draw")
    what = (
        f"{draws} {'lacks' if concerned.height == 1 else 'lack'} {number} entirely "
        f"({sizes_words(concerned['train_size'].unique().sort().to_list())}): no model can score on them."
    )
    is_path = not runs.filter(is_chosen()).is_empty()
    to_do = _START_LATER if is_path else _draw_otherwise(concerned)
    yield finding(Severity.WARNING, "missing-class", concerned, what, to_do, names_sizes=True)


def _draw_otherwise(runs: pl.DataFrame) -> str:
    """What would put an image of every class into the subsets; advice depends on how they were drawn."""
    strategies = set(runs["subset_strategy"].drop_nulls())
    if runs["imbalance"].max() not in (None, 1):
        return "Start at a larger size, or ask for a smaller imbalance: the rarest classes get no image."
    if strategies == {"stratified"}:
        return (
            "Start at a larger size, or draw balanced subsets: a stratified draw of so few images cannot "
            "hold every class."
        )
    return "Draw stratified or balanced subsets, or start at a larger size."


def check_leaks(runs: pl.DataFrame, subsets: pl.DataFrame, predictions: pl.DataFrame) -> Iterator[Finding]:
    """Test images in the training subsets, told by equal pixels.

    Images have `run_id`, `index`, `label`, `hash`: `subsets` of one run per draw, `predictions` of at least
    one run per data set and class half; its test images stand for those of all runs on that data.
    """
    key = pl.concat_str("dataset", pl.lit(" "), "classes").alias("data")
    data_of = runs.select("run_id", key)
    test = _under(data_of, predictions).unique(["run_id", "hash"])
    train = _under(data_of, subsets).unique(["run_id", "index"])
    leaks = find_leaks(train, test)
    if leaks.is_empty():
        return
    images, tested = leaks["hash"].n_unique(), test["hash"].n_unique()
    wrong = leaks.filter(pl.col("train_label") != pl.col("test_label"))["hash"].n_unique()
    labels = f"; {wrong} of them under another label" if wrong else ""
    concerned = runs.join(subsets.join(leaks.select("hash"), on="hash", how="semi"), on="run_id", how="semi")
    what = (
        f"{images:,} of {tested:,} test images ({100 * images / tested:.1f} %) are in the training subsets, "
        f"pixel for pixel{labels}."
    )
    to_do = "Remove them from the training set: the test accuracy is too high, more so at large sizes."
    yield finding(Severity.ERROR, "test-in-training", concerned, what, to_do)


def check_further_tests(runs: pl.DataFrame) -> Iterator[Finding]:
    """Images of further test sets that are learned from, with or without labels, told by equal pixels."""
    leaking = runs.filter(pl.col("tests_in_training") > 0)
    if leaking.height:
        most = plural(int(str(leaking["tests_in_training"].max())), "image")
        what = f"Up to {most} of further test sets are learned from, pixel for pixel."
        to_do = "Remove them from tests or from the training set: what is measured on them is too high."
        yield finding(Severity.ERROR, "test-in-training", leaking, what, to_do)


def check_twins(runs: pl.DataFrame, subsets: pl.DataFrame, datasets: pl.DataFrame) -> Iterator[Finding]:
    """Test images that look almost like one of the training subsets, as the decoding of image files found.

    `subsets` and `datasets` are of one run per draw. Runs without labels have no test images to count.
    """
    if "twin" not in subsets.columns:
        return
    alike = subsets.filter(pl.col("twin").is_not_null()).join(runs, on="run_id", how="semi")
    if alike.is_empty():
        return
    tested = datasets.join(alike, on="run_id", how="semi").group_by("run_id").agg(pl.sum("test_images"))
    count, most = alike["twin"].n_unique(), int(str(tested["test_images"].max()))
    of_all = f"{most:,} test images ({100 * count / most:.1f} %)" if most else "the test images"
    pairs = (
        alike.unique("twin", keep="first", maintain_order=True).select("twin", "image_file").head(_MOST_PAIRS)
    )
    examples = ", ".join(f"{twin} and {file}" for twin, file in pairs.rows())
    what = f"{count:,} of {of_all} look almost like one of the training subsets, such as {examples}."
    whose = "" if most else " of whoever starts from these runs"
    to_do = (
        "Look at them: if they are copies, remove these from the training set; the test accuracy"
        f"{whose} is too high."
    )
    concerned = runs.join(alike, on="run_id", how="semi")
    yield finding(Severity.WARNING, "near-duplicates", concerned, what, to_do)


def check_changed_data(runs: pl.DataFrame, datasets: pl.DataFrame) -> Iterator[Finding]:
    """Runs of one data set and class half whose files differ."""
    prints = runs.join(datasets.select("run_id", "fingerprint").unique("run_id"), on="run_id")
    for _, group in prints.group_by("dataset", "classes", maintain_order=True):
        if group["fingerprint"].n_unique() > 1:
            what = (
                f"The files of {group['dataset'][0]} changed between runs: {group['fingerprint'].n_unique()} "
                "fingerprints in one experiment."
            )
            to_do = "Rerun the older runs, or give the new data a name of its own."
            yield finding(Severity.ERROR, "data-changed", group, what, to_do)


def check_generated(runs: pl.DataFrame) -> Iterator[Finding]:
    """Folders of generated images that changed between runs, have too few, or hold real images."""
    made = runs.filter(pl.col("generated_fingerprint").is_not_null())
    for (words,), group in made.group_by("synthetic", maintain_order=True):
        folder = str(words).partition("source=")[2].partition(" ")[0]
        if group["generated_fingerprint"].n_unique() > 1:
            what = f"The files of {folder} changed between runs of one experiment."
            yield finding(Severity.ERROR, "data-changed", group, what, "Rerun the older runs with --force.")
        lacking = group.filter(pl.col("generated_missing") > 0)
        if lacking.height:
            most = plural(int(str(lacking["generated_missing"].max())), "generated image")
            what = (
                f"Up to {most} fewer were learned from than ratio asks for: {folder} has no more "
                f"at {sizes_words(lacking['train_size'].unique().sort().to_list())}."
            )
            to_do = "Generate more, or give a smaller ratio: the sizes do not see one share of them."
            yield finding(Severity.WARNING, "generated-missing", lacking, what, to_do, names_sizes=True)
        if most_out := int(str(group["generated_left_out"].max() or 0)):
            what = (
                f"{plural(most_out, 'image')} of {folder} left out: in the data set itself, or like test "
                "images or ones held out."
            )
            to_do = "See how they came to be generated: others may be less alike and still copies."
            yield finding(Severity.NOTE, "generated-left-out", group, what, to_do)


def _under(data_of: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """Images with the data they are of in place of the run."""
    named = images.select("run_id", "index", "label", "hash").join(data_of, on="run_id")
    return named.drop("run_id").rename({"data": "run_id"})
