from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tests.fakes import fake_sweep, write_run
from tests.unit import record_desk
from tui_datasize.answers import audit as answers_audit
from tui_datasize.answers.checks.audit import AuditRecord, audit, runs_to_read
from tui_datasize.answers.checks.finding import AUDIT, Severity, findings_table
from tui_datasize.answers.checks.measured import smallest_grid
from tui_datasize.runlog.reader import RunLog
from tui_datasize.runlog.schema import RUNS
from tui_datasize.runlog.tables import DATASETS
from tui_datasize.stats.curve import points
from tui_datasize.stats.odd_sizes import odd_variances

SIZES, SEEDS = (1000, 2000, 4000, 8000), range(6)
TEST_IMAGES = 20_800
SOUND = {
    "experiment": "e", "variant": "", "dataset": "letters", "model": "cnn3", "subset_strategy": "stratified",
    "subset_nested": True, "state": "succeeded", "attempt": 1, "updates": 2000,
    "total_updates": 2000, "missing_evaluations": 0, "train_accuracy": 0.99, "train_f1_macro": 0.98,
    "batch_size": 72, "schedule": "constant", "classes": "all", "as_published": False, "device": "cpu",
    "threads": 1, "precision": "fp32", "torch": "2.9", "git_commit": "a", "broken_lines": 0,
}  # fmt: skip


def sound_runs(test_images=TEST_IMAGES, evaluated=None, seed=1, spread=0.01) -> pl.DataFrame:
    """A sweep without a fault; `evaluated` images are drawn anew for each run where it is given."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in SIZES:
        for run_seed in SEEDS:
            p = 0.5 + 0.1 * np.log10(size) + rng.normal(0, spread)
            images = evaluated or test_images
            accuracy = rng.binomial(images, p) / images if evaluated else round(p * images) / images
            rows.append(
                {
                    "run_id": f"e-n{size}-s{run_seed}",
                    "train_size": size,
                    "seed": run_seed,
                    "subset_seed": run_seed % 2,
                    "test_accuracy": accuracy,
                    "test_f1_macro": accuracy * 0.995,
                    "test_loss": rng.uniform(0.2, 2),
                    "train_loss": rng.uniform(0.01, 0.1),
                    **SOUND,
                }
            )
    return pl.DataFrame(rows, schema=dict(RUNS))


def data_sets(runs: pl.DataFrame, test_images=TEST_IMAGES, classes=26) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "run_id": runs["run_id"][0], "dataset": "letters", "label": range(classes),
            "class_name": [chr(97 + label) for label in range(classes)], "train_images": 4800,
            "test_images": test_images // classes, "fingerprint": "f",
        },
        schema=dict(DATASETS),
    )  # fmt: skip


def record_of(runs, **frames) -> AuditRecord:
    empty = AuditRecord.of_runs(runs)
    given = {"subsets": empty.subsets, "datasets": data_sets(runs), "predictions": empty.predictions} | frames
    return AuditRecord(runs, **given)


def found_in(runs, **frames) -> dict[str, object]:
    return {finding.check: finding for finding in audit(record_of(runs, **frames))}


def where(runs, condition, **values):
    return runs.with_columns(
        pl.when(condition).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def test_a_sound_sweep_has_no_finding():
    assert audit(record_of(sound_runs())) == ()


def test_evaluations_of_the_last_batch_are_found_by_their_grid():
    found = found_in(sound_runs(evaluated=64, spread=0.002))
    part = found["part-of-split"]
    assert part.severity is Severity.ERROR
    assert "64 of 20,800 test images" in part.what
    noise = found["sampling-noise"]
    assert noise.severity is Severity.WARNING
    assert "drawing 64 test images alone explains it" in noise.what


def test_a_whole_test_set_is_no_part_whatever_its_size():
    for images in (26 * 20, 26 * 50, 20_800):
        runs = sound_runs(images)
        assert "part-of-split" not in found_in(runs, datasets=data_sets(runs, images))


def test_rounded_values_are_no_proof():
    runs = sound_runs().with_columns(pl.col("test_accuracy").round(3))
    assert found_in(runs)["part-of-split"].severity is Severity.WARNING


def test_without_a_known_test_set_the_grid_is_a_note():
    runs = sound_runs(evaluated=64)
    (part,) = (f for f in audit(AuditRecord.of_runs(runs)) if f.check == "part-of-split")
    assert part.severity is Severity.NOTE


def test_rounded_values_from_elsewhere_may_just_be_rounded():
    runs = sound_runs().with_columns(test_accuracy=pl.col("test_accuracy").round(3), batch_size=None)
    (part,) = (f for f in audit(AuditRecord.of_runs(runs)) if f.check == "part-of-split")
    assert "whole 1,000ths: they are rounded, or so many images were tested" in part.what
    assert part.to_do.startswith("If they are not rounded")


@pytest.mark.parametrize("is_imported", [False, True])
def test_values_that_are_missing_elsewhere_are_not_called_diverged(is_imported):
    missing = pl.when(pl.col("seed") == pl.col("seed").min()).then(None).otherwise(pl.col("test_accuracy"))
    runs = sound_runs().with_columns(test_accuracy=missing)
    if is_imported:
        runs = runs.with_columns(batch_size=None)
    found = found_in(runs)["not-finite"]
    assert ("learning rate" in found.to_do) != is_imported
    assert ("blank" in found.what) == is_imported


@pytest.mark.parametrize(
    ("validation", "best_by", "batch_size", "expected"),
    [(0.0, 0.01, 72, True), (0.0, 0.0, 72, False), (0.2, 0.01, 72, False), (0.0, 0.01, None, False)],
)
def test_best_weights_that_the_test_set_chose_are_a_note(validation, best_by, batch_size, expected):
    runs = sound_runs().with_columns(
        best_test_accuracy=pl.col("test_accuracy") + best_by,
        validation=pl.lit(validation),
        batch_size=pl.lit(batch_size, pl.Int64),
    )
    found = found_in(runs)
    assert ("best-by-test" in found) == expected
    if expected:
        assert found["best-by-test"].severity is Severity.NOTE
        assert f"of {runs.height} runs" in found["best-by-test"].what


def test_of_weights_trained_anew_it_is_said_that_nothing_validates_them():
    assert "trained-anew" not in found_in(sound_runs())
    anew = pl.when(pl.col("seed") == pl.col("seed").min()).then(300)
    runs = sound_runs().with_columns(validation=0.2, refit_update=anew)
    found = found_in(runs)["trained-anew"]
    assert found.severity is Severity.NOTE
    assert set(found.run_ids) == set(runs.drop_nulls("refit_update")["run_id"])


def test_runs_that_scatter_no_more_than_the_test_set_are_a_note():
    note = found_in(sound_runs(spread=0.002))["sampling-noise"]
    assert note.severity is Severity.NOTE
    # The images are the same for all: they explain no scatter, they bound what it tells.
    assert "explains" not in note.what
    assert "another test set of 20,800 images would move them together" in note.what


@pytest.mark.parametrize("seeds", [range(4), SEEDS])
@pytest.mark.parametrize("at", SIZES)
def test_a_size_measured_on_other_images_is_named(at, seeds):
    runs = sound_runs(spread=0.004).filter(pl.col("seed").is_in(seeds))
    few = pl.Series(np.random.default_rng(5).binomial(100, 0.8, runs.height) / 100)
    odd = runs.with_columns(test_accuracy=pl.when(train_size=at).then(few).otherwise("test_accuracy"))
    found = found_in(odd)["measured-differently"]
    assert (found.train_sizes, found.severity) == ((at,), Severity.WARNING)
    assert found.what.startswith(f"{at:,} images are measured unlike others: all scores are whole ")
    assert len(found.run_ids) == len(seeds)


def test_small_sizes_that_scatter_more_are_not_odd():
    # Of the demonstration, within draws.
    variances = [4.89e-4, 8.65e-4, 4.0e-5, 3.0e-5, 9.8e-5, 3.1e-5]
    assert odd_variances(variances, [4] * 6).tolist() == [1.0] * 6


@pytest.mark.parametrize(("n_sizes", "degrees"), [(4, 3), (6, 4)])
def test_sizes_of_few_runs_that_scatter_alike_are_seldom_odd(n_sizes, degrees):
    variances = np.random.default_rng(0).chisquare(degrees, (1000, n_sizes)) / degrees
    odd = sum(bool((odd_variances(own, [degrees] * n_sizes) != 1).any()) for own in variances)
    assert odd <= 5


def test_a_size_that_scatters_more_is_named_whatever_its_scores_look_like():
    runs = sound_runs(spread=0.004)
    mean = pl.col("test_accuracy").mean().over("train_size")
    wide = mean + 12 * (pl.col("test_accuracy") - mean)
    odd = runs.with_columns(test_accuracy=pl.when(train_size=4000).then(wide).otherwise("test_accuracy"))
    found = found_in(odd)["measured-differently"]
    assert found.train_sizes == (4000,)
    assert "as with fewer test images, or runs that went wrong." in found.what


def test_rounded_scores_of_one_size_are_named_where_they_are_no_chance():
    runs = sound_runs(spread=0.03)
    rounded = pl.col("test_accuracy").round(2)
    odd = runs.with_columns(test_accuracy=pl.when(train_size=4000).then(rounded).otherwise("test_accuracy"))
    found = found_in(odd)["measured-differently"]
    assert "all scores are whole 100ths, others finer, as with 100 test images, or rounding" in found.what
    assert "scatter" not in found.to_do


def test_one_draw_for_all_runs_is_a_note():
    shared = found_in(sound_runs().with_columns(subset_seed=0))["one-draw"]
    assert shared.severity is Severity.NOTE
    assert "training seeds only" in shared.what
    assert "one-draw" not in found_in(sound_runs().filter(pl.col("seed") < 1))


@pytest.mark.parametrize(
    ("check", "condition", "values"),
    [
        ("as-published", pl.lit(True), {"as_published": True}),
        ("unequal-updates", pl.col("train_size") == 8000, {"total_updates": 2100, "updates": 2100}),
        ("incomplete", pl.col("seed") == 3, {"missing_evaluations": 2, "state": "incomplete"}),
        ("mixed-precision", pl.col("seed") == 3, {"precision": "bf16"}),
        ("mixed-device", pl.col("seed") == 3, {"device": "NVIDIA H100"}),
        ("mixed-threads", pl.col("train_size") == 8000, {"threads": 8}),
        ("mixed-pack", pl.col("seed") == 3, {"pack_width": 8, "pack_implementation": "fused"}),
        ("resumed-elsewhere", pl.col("seed") == 3, {"device": "NVIDIA H100", "attempt": 2}),
        ("missing-seeds", (pl.col("seed") == 3) & (pl.col("train_size") == 2000), {"state": "failed"}),
        ("not-finite", pl.col("seed") == 3, {"test_loss": None}),
        ("not-finite", pl.col("seed") == 3, {"test_accuracy": float("nan")}),
        ("broken-lines", pl.col("seed") == 3, {"broken_lines": 2}),
        ("equal-runs", pl.col("seed") < 2, {"test_loss": 1.0, "train_loss": 0.5, "test_accuracy": 0.7}),
    ],
)
def test_each_fault_is_found_and_nothing_else_of_its_kind(check, condition, values):
    runs = sound_runs()
    assert check not in found_in(runs)
    finding = found_in(where(runs, condition, **values))[check]
    assert finding.what.endswith(".")
    assert finding.to_do.endswith(".")


def test_strategies_that_begin_with_the_same_draw_are_not_called_the_same_run():
    first = sound_runs().filter(pl.col("train_size") == pl.col("train_size").min())
    both = [
        first.with_columns(subset_strategy=pl.lit(one), run_id=one + pl.col("run_id"))
        for one in ("margin", "random")
    ]
    assert "equal-runs" not in found_in(pl.concat(both))
    assert "equal-runs" in found_in(pl.concat([both[0], both[0].with_columns(run_id="x" + pl.col("run_id"))]))


@pytest.mark.parametrize("result", [0.5, None])
def test_a_run_that_lost_evaluations_is_named_and_not_called_diverged(result):
    lost = (pl.col("seed") == 3) & (pl.col("train_size") == 2000)
    found = found_in(
        where(sound_runs(), lost, missing_evaluations=2, state="incomplete", test_accuracy=result)
    )
    assert "2 evaluations of 1 run are not in the record: e-n2000-s3." in found["incomplete"].what
    assert "datasize-tui queue e" in found["incomplete"].to_do
    assert "not-finite" not in found
    unknown = sound_runs().with_columns(missing_evaluations=pl.lit(None, pl.Int64))
    assert "incomplete" not in found_in(unknown)
    # What it measured last is in no curve.
    assert (
        "e-n2000-s3" not in points(where(sound_runs(), lost, state="incomplete"), "test_accuracy")["run_id"]
    )
    still = where(sound_runs(), lost, missing_evaluations=2, state="interrupted")
    assert "incomplete" not in found_in(still)


def test_runs_without_a_word_on_packs_were_computed_alone():
    runs = sound_runs()
    told = where(runs, pl.col("seed") < 3, pack_width=1, pack_implementation="alone")
    assert "mixed-pack" not in found_in(told)
    packed = where(told, pl.col("seed") == 5, pack_width=8, pack_implementation="fused")
    assert "alone (20 runs), 8 fused (4 runs)" in found_in(packed)["mixed-pack"].what


def test_untrained_models_are_noticed():
    rng = np.random.default_rng(2)
    guess = rng.binomial(TEST_IMAGES, 1 / 26, len(SIZES) * len(SEEDS)) / TEST_IMAGES
    untrained = sound_runs().with_columns(guess=pl.Series(guess))
    untrained = untrained.with_columns(test_accuracy=pl.min_horizontal("guess", pl.lit(0.04))).drop("guess")
    found = found_in(untrained)["no-better-than-chance"]
    assert found.severity is Severity.ERROR
    assert "24 runs of 24 runs" not in found.what
    some = where(sound_runs(), pl.col("train_size") == 1000, test_accuracy=0.039)
    found = found_in(some)["no-better-than-chance"]
    assert (found.severity, found.train_sizes) == (Severity.WARNING, (1000,))
    assert "3.9 % right, where naming one class gives 3.8 % (1,000 images)" in found.what


def test_naming_the_commonest_class_is_no_skill():
    runs = sound_runs(1000).with_columns(test_accuracy=pl.lit(0.7))
    skewed = data_sets(runs, classes=4).with_columns(test_images=pl.Series([700, 100, 100, 100]))
    assert "no-better-than-chance" in found_in(runs, datasets=skewed)
    even = skewed.with_columns(test_images=pl.lit(250))
    assert "no-better-than-chance" not in found_in(runs, datasets=even)


def test_micro_averaged_f1_is_accuracy():
    runs = sound_runs().with_columns(test_f1_macro=pl.col("test_accuracy"))
    assert "micro-averaged" in found_in(runs)["f1-is-accuracy"].what


def test_a_condition_that_goes_with_the_size_is_confounded():
    runs = where(sound_runs(), pl.col("train_size") == 8000, device="NVIDIA H100")
    assert "their effects cannot be separated" in found_in(runs)["mixed-device"].what


def test_conditions_of_as_many_runs_are_told_in_one_order():
    runs = sound_runs().head(18).with_row_index("place")
    of_six = runs.with_columns(device=pl.format("GPU {}", pl.col("place") % 6)).drop("place")
    told = {found_in(of_six.sample(fraction=1, shuffle=True, seed=s))["mixed-device"].what for s in range(8)}
    assert [one.partition(": ")[2] for one in told] == ["GPU 0 (3 runs), GPU 1 (3 runs), GPU 2 (3 runs)."]


def test_a_larger_budget_at_larger_sizes_is_said():
    runs = sound_runs().with_columns(total_updates=pl.col("train_size"), updates=pl.col("train_size"))
    assert "larger sizes also train longer" in found_in(runs)["unequal-updates"].what


def test_schedules_in_updates_that_do_not_fit():
    step = "name=step unit=updates step=1500 warmup=1200"
    runs = where(sound_runs(), pl.col("train_size") == 1000, total_updates=1000, updates=1000)
    found = found_in(runs.with_columns(schedule=pl.lit(step)))
    assert found["schedule-not-scaled"].severity is Severity.WARNING
    assert found["warmup-too-long"].train_sizes == (1000,)
    assert found["schedule-unreached"].train_sizes == (1000,)
    falls = "name=multistep unit=updates milestones=(500, 900)"
    assert "schedule-unreached" not in found_in(runs.with_columns(schedule=pl.lit(falls)))


def test_images_are_audited():
    runs = sound_runs()
    run_id = runs["run_id"][0]
    subsets = pl.DataFrame(
        {"run_id": run_id, "index": range(100), "label": np.arange(100) % 25, "hash": range(100)},
        schema_overrides={"hash": pl.UInt64},
    )
    # Another run's predictions stand for the test set of all.
    predictions = pl.DataFrame(
        {"run_id": runs["run_id"][-1], "index": range(50), "label": 0, "hash": range(90, 140)},
        schema_overrides={"hash": pl.UInt64},
    )
    found = found_in(runs, subsets=subsets, predictions=predictions)
    assert "1 subset draw lacks 1 class entirely (1,000 images)" in found["missing-class"].what
    # These draws are stratified already.
    assert "draw balanced" in found["missing-class"].to_do
    assert "stratified or" not in found["missing-class"].to_do
    at_random = found_in(runs.with_columns(subset_strategy=pl.lit("random")), subsets=subsets)
    assert "Draw stratified" in at_random["missing-class"].to_do
    strategies = pl.Series(["random", *["margin"] * (runs.height - 1)])
    on_a_path = found_in(runs.with_columns(subset_strategy=strategies), subsets=subsets)
    assert on_a_path["missing-class"].to_do.startswith("Begin the path at a larger size")
    assert "10 of 50 test images (20.0 %)" in found["test-in-training"].what
    changed = pl.concat([data_sets(runs), data_sets(runs[1:]).with_columns(fingerprint=pl.lit("g"))])
    assert found_in(runs, datasets=changed)["data-changed"].severity is Severity.ERROR


def test_folders_of_generated_images_are_audited():
    made = sound_runs().with_columns(
        synthetic=pl.lit("source=imagefolder:made ratio=2.0"),
        generated_fingerprint=pl.lit("f"),
        generated_missing=pl.lit(0),
        generated_left_out=pl.lit(0),
    )
    assert not found_in(made).keys() & {"data-changed", "generated-missing", "generated-left-out"}
    few = made.with_columns(generated_missing=pl.when(pl.col("train_size") == 8000).then(12).otherwise(0))
    found = found_in(few)["generated-missing"]
    assert "Up to 12 generated images fewer were learned from than ratio asks for" in found.what
    assert "imagefolder:made has no more at 8,000 images." in found.what
    copies = found_in(made.with_columns(generated_left_out=pl.lit(3)))["generated-left-out"]
    assert copies.what.startswith("3 images of imagefolder:made left out: in the data set itself, or like")
    changed = made.with_columns(generated_fingerprint=pl.col("train_size").cast(pl.String))
    assert "imagefolder:made changed between runs" in found_in(changed)["data-changed"].what


def test_findings_are_a_table():
    runs = where(sound_runs(evaluated=64), pl.col("seed") == 3, test_loss=None)
    table = findings_table(audit(record_of(runs)))
    assert table.schema == pl.Schema(dict(AUDIT))
    assert table["severity"].to_list() == sorted(table["severity"], key=["error", "warning", "note"].index)
    assert findings_table(()).is_empty()


def test_grids():
    assert smallest_grid([]) is None
    assert smallest_grid([np.float32(k / 64) for k in (5, 63, 40)]) == 64
    assert smallest_grid([0.1415926535], most=100) is None


def test_what_an_audit_reads_does_not_grow_with_the_seeds(project):
    for spec in fake_sweep(sizes=(40, 80), seeds=range(4), subset_seeds=(0,)):
        write_run(project, spec)
    log = RunLog(project)
    runs = log.runs()
    for_images, for_tests = runs_to_read(runs)
    assert (len(for_images), len(for_tests)) == (2, 1)
    subsets, datasets = log.table("subsets", for_images), log.datasets(for_images)
    found = audit(AuditRecord(runs, subsets, datasets, log.table("predictions", for_tests)))
    assert [finding.severity for finding in found if finding.severity is Severity.ERROR] == []


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_runs_are_no_fault(rows):
    assert {f.check for f in audit(record_of(sound_runs())) if rows} == set()
    runs = sound_runs()[:rows]
    assert audit(AuditRecord.of_runs(runs)) == ()


def test_runs_that_tell_little_are_audited_for_what_they_tell():
    known = ("run_id", "experiment", "variant", "train_size", "seed", "state", "test_accuracy", "test_loss")
    runs = sound_runs()
    unknown = [pl.lit(None, kind).alias(name) for name, kind in RUNS.items() if name not in known]
    assert [found.check for found in audit(AuditRecord.of_runs(runs.with_columns(unknown)))] == [
        "draws-unknown"
    ]


def test_what_variants_share_is_told_once_and_counted():
    longer = {"a": 2100, "b": 2100, "c": 2200, "d": 2000}
    runs = pl.concat(
        [
            where(sound_runs(), pl.col("train_size") == 8000, total_updates=updates).with_columns(
                variant=pl.lit(variant), test_loss=pl.col("test_loss") + place
            )
            for place, (variant, updates) in enumerate(longer.items())
        ]
    )
    answer = answers_audit.ask(record_desk.record_of(runs))
    assert answer.headline == "1 warning, 1 note: unequal updates, never tuned."
    sentence, _ = answer.sentences
    assert sentence.tone == "warning"
    assert sentence.text.startswith("a and b: Runs of this curve make 2,000 to 2,100 updates")
    assert sentence.text.endswith("Likewise in c, with other numbers.")
    assert answer.rows().height == answer.tables[0].frame.height == 4


def test_an_audit_without_findings_and_one_without_runs():
    clean = answers_audit.ask(record_desk.record_of(sound_runs()))
    assert (clean.headline, clean.sentences, clean.tables) == ("No problems found.", [], [])
    queued = sound_runs().with_columns(state=pl.lit("queued"))
    assert not answers_audit.ask(record_desk.record_of(queued)).applies
