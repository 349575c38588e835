from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.fakes import fake_sweep, write_run
from tui_datasize.answers.plan import plan_words
from tui_datasize.answers.proposal import propose
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.stats.design import Design, spread_checks
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.noise import Noise, noise_of
from tui_datasize.stats.plan_table import PLAN, plans_table
from tui_datasize.stats.planner import Plan, fit_design, plan_next_runs
from tui_datasize.stats.question import Question
from tui_datasize.stats.summary import analyse_curves
from tui_datasize.stats.view import about

SIZES = np.array([100.0, 200, 400, 800, 1600])
DESIGN = Design(0.05, 0.2, 0.5, 400.0, Noise(0.01, 0.0, 10))
ONE = np.ones(5)


def sweep(sizes=SIZES, seeds=2, sd=0.004, floor=0.05) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {
            "run_id": f"{size}-{seed}", "experiment": "e", "variant": "", "train_size": int(size),
            "subset_seed": 0, "seed": seed, "state": "succeeded", "total_updates": 100, "batch_size": 10,
            "test_accuracy": 1 - floor - 4 * size**-0.5 + rng.normal(0, sd),
            "train_accuracy": 0.9,
        }
        for size in sizes
        for seed in range(seeds)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_the_delta_method_equals_that_of_many_simulated_fits():
    counts = np.array([40, 40, 40, 40, 40])
    rng = np.random.default_rng(0)
    answers = []
    for _ in range(400):
        means = DESIGN.errors_at(SIZES) + rng.normal(0, 0.01 / np.sqrt(counts))
        # One Gauss-Newton step from the truth is the linear estimate.
        step = np.linalg.lstsq(DESIGN.gradients_at(SIZES), means - DESIGN.errors_at(SIZES), rcond=None)[0]
        answers.append(float(DESIGN.gradients_at([6400])[0] @ step))
    assert DESIGN.variance_at(6400, SIZES, counts) == pytest.approx(np.var(answers), rel=0.2)


def test_gradients_are_those_of_differences():
    for i, name in enumerate(("floor", "strength", "exponent")):
        values = {f: getattr(DESIGN, f) for f in ("floor", "strength", "exponent", "reference", "noise")}
        up, down = (Design(**{**values, name: values[name] + h}) for h in (1e-6, -1e-6))
        slope = (up.errors_at(SIZES) - down.errors_at(SIZES)) / 2e-6
        np.testing.assert_allclose(DESIGN.gradients_at(SIZES)[:, i], slope, rtol=1e-6)


def test_the_design_is_the_best_of_all_allocations():
    present = np.array([1, 1, 1, 1, 1])
    added = DESIGN.add_runs(6400, SIZES, present, ONE, 6)
    assert added.sum() == 6
    every = (
        np.bincount(chosen, minlength=5) for chosen in itertools.combinations_with_replacement(range(5), 6)
    )
    best = min(DESIGN.variance_at(6400, SIZES, present + counts) for counts in every)
    assert DESIGN.variance_at(6400, SIZES, present + added) == pytest.approx(best, rel=0.02)


def test_a_dearer_size_gets_fewer_runs_and_the_budget_holds():
    cheap = DESIGN.add_runs(6400, SIZES, ONE, ONE, 20)
    dear = DESIGN.add_runs(6400, SIZES, ONE, np.array([1.0, 1, 1, 1, 5]), 20)
    assert dear[-1] < cheap[-1]
    assert dear @ np.array([1, 1, 1, 1, 5]) <= 20


def test_checks_go_where_the_design_does_not():
    checks = spread_checks(SIZES, [3, 2, 5, 5, 3], [4, 0, 0, 0, 6], ONE, 4)
    assert checks.tolist() == [0, 3, 1, 0, 0]
    assert spread_checks(SIZES, [3, 3, 3, 3, 3], [4, 0, 0, 0, 6], ONE, 4).tolist() == [0, 1, 2, 1, 0]
    assert spread_checks(SIZES, ONE, ONE, ONE, 4).sum() == 0


def test_a_plan_narrows_the_answer_more_than_a_uniform_grid():
    runs = sweep()
    plan = plan_next_runs(runs, "test_accuracy", Question(at=6400, runs=20))
    assert isinstance(plan, Plan)
    assert plan.n_added == 20
    assert sum(size.check for size in plan.sizes) == 4
    design = fit_design(runs, "test_accuracy")
    uniform = 1.96 * np.sqrt(design.variance_at(6400, SIZES, np.full(5, 2 + 4)))
    assert plan.half_width_then < uniform < plan.half_width_now
    assert plan_words(plan)[0].startswith("20 more runs narrow the test accuracy at 6,400 images from ± ")


def test_a_target_asks_for_the_size_where_the_law_reaches_it():
    plan = plan_next_runs(sweep(seeds=6), "test_accuracy", Question(target=0.9, runs=10))
    assert 3200 < plan.at < 12_800
    assert 1 < plan.factor_then < plan.factor_now
    beyond = plan_next_runs(sweep(seeds=6), "test_accuracy", Question(target=0.99, runs=10))
    assert beyond.at == 8 * SIZES[-1]
    assert any("12,800 images instead" in sentence for sentence in plan_words(beyond))


def test_a_plan_foresees_what_analyze_foresees_and_says_what_its_own_law_would():
    rng = np.random.default_rng(5)
    falls = 0.1 + 0.5 / (1 + (pl.col("train_size") / 700) ** 1.5)
    runs = sweep(seeds=4).with_columns(test_accuracy=1 - falls + pl.Series(rng.normal(0, 0.003, 20)))
    (curve,) = analyse_curves(runs, "test_accuracy", Question(target=0.85))
    (there,) = (point for point in curve.outlook.extrapolations if point.factor == 4)
    plan = plan_next_runs(runs, "test_accuracy", Question(runs=10))
    assert plan.at == there.train_size
    assert (plan.value, *plan.band) == pytest.approx((there.value, there.low, there.high))
    # The law that the runs are placed by is another one, and a reader is told so.
    assert abs(plan.value_by_law - plan.value) > 0.005
    words = " ".join(plan_words(plan))
    assert f"Forecast at {plan.at:,.0f} images: {100 * plan.value:.2f} % (" in words
    assert f"the law that places the runs says {100 * plan.value_by_law:.2f} %" in words
    aimed = plan_next_runs(runs, "test_accuracy", Question(target=0.85, runs=10))
    assert aimed.at == curve.outlook.needed.train_size


def test_a_plan_on_an_ill_shaped_curve_carries_the_doubt():
    rises = sweep(seeds=4, sd=0.001).with_columns(
        test_accuracy=pl.col("test_accuracy") - 0.1 * (pl.col("train_size") == 200)
    )
    plan = plan_next_runs(rises, "test_accuracy", Question(runs=1))
    words = plan_words(plan)
    assert any("take the forecast as a guess" in sentence for sentence in words)
    assert words[0].startswith("1 more run would hardly narrow")
    sound = plan_next_runs(sweep(), "test_accuracy", Question(runs=1))
    assert plan_words(sound)[0].startswith("1 more run narrows")
    assert not any("Plan again" in sentence for sentence in words)


def test_a_curve_that_the_laws_miss_has_no_plan():
    falls = sweep(seeds=4, sd=0.001).with_columns(test_accuracy=1 - pl.col("test_accuracy"))
    failure = plan_next_runs(falls, "test_accuracy")
    assert isinstance(failure, FitFailure)
    assert "misses the largest size, 1,600 images" in failure.reason


def test_a_plan_that_aims_where_the_average_alone_gets_says_so():
    plan = plan_next_runs(sweep(seeds=6), "test_accuracy", Question(target=0.9, runs=10))
    words = plan_words(plan)
    assert any("the error of the laws adds to it" in sentence for sentence in words)
    assert f"at {about(plan.at)} images" in words[0]


def test_a_plan_for_runs_that_are_all_equal_makes_sense():
    equal = sweep(seeds=3).with_columns(test_accuracy=pl.lit(1.0))
    plan = plan_next_runs(equal, "test_accuracy", Question(target=0.97, runs=18))
    words = plan_words(plan)
    assert words[0].startswith("18 more runs would hardly narrow the test accuracy")
    assert not any("± 0.00 points to" in sentence or "10 or more" in sentence for sentence in words)


def test_a_budget_in_samples_counts_the_images_seen():
    costs = {int(size): 10.0 * size for size in SIZES}
    plan = plan_next_runs(sweep(), "test_accuracy", Question(samples=40_000), costs)
    assert sum(size.samples for size in plan.sizes) <= 40_000
    assert plan.n_added > 2
    assert plan_next_runs(sweep(), "test_accuracy", Question(samples=10), costs) == FitFailure(
        "has a budget below the cost of one run"
    )


def test_runs_of_unknown_length_are_planned_by_their_number_alone():
    runs = sweep().with_columns(total_updates=pl.lit(None, pl.Int64))
    assert plan_next_runs(runs, "test_accuracy", Question(runs=5)).n_added == 5
    plan = plan_next_runs(runs, "test_accuracy", Question(samples=5))
    assert "give the budget in runs" in plan.reason


def test_runs_on_their_way_count():
    runs = sweep()
    coming = runs.with_columns(state=pl.when(pl.col("seed") == 1).then(pl.lit("queued")).otherwise("state"))
    plan = plan_next_runs(coming, "test_accuracy", Question(runs=4))
    assert [size.runs for size in plan.sizes] == [2] * 5


@pytest.mark.parametrize(
    ("runs", "metric", "reason"),
    [
        (sweep(SIZES[:1]), "test_accuracy", "needs 4 sizes, has 1"),
        (sweep(SIZES[:3]), "test_accuracy", "needs 4 sizes, has 3"),
        (sweep().clear(), "test_accuracy", "no train size"),
        (sweep(), "train_accuracy", "no law here is fitted to"),
        (sweep().with_columns(test_accuracy=pl.lit(float("nan"))), "test_accuracy", "no train size"),
    ],
)
def test_what_cannot_be_planned_is_a_reason(runs, metric, reason):
    plan = plan_next_runs(runs, metric)
    assert isinstance(plan, FitFailure)
    assert reason in plan.reason
    assert plans_table({("e", ""): plan}, metric).schema == pl.Schema(dict(PLAN))


def test_single_runs_are_planned_with_a_guess_that_is_named():
    plan = plan_next_runs(sweep(seeds=1), "test_accuracy")
    assert any("is a guess" in sentence for sentence in plan_words(plan))


def test_equal_seeds_are_no_reason_to_be_sure():
    plan = plan_next_runs(sweep(SIZES[:4], sd=0), "test_accuracy", Question(runs=4))
    assert plan.half_width_now > 0.001
    assert any("is a guess" in sentence for sentence in plan_words(plan))


@pytest.mark.parametrize("accuracy", [0.9, 1.0])
def test_a_flat_curve_can_be_planned(accuracy):
    level = sweep().with_columns(test_accuracy=pl.lit(accuracy))
    noisy = level.with_columns(test_accuracy=accuracy - 0.001 * pl.col("seed"))
    for runs in (level, noisy):
        plan = plan_next_runs(runs, "test_accuracy", Question(runs=6))
        assert plan.n_added == 6
        assert np.isfinite(plan.half_width_then)


@pytest.mark.parametrize(
    "question",
    [
        Question(at=10, target=0.5),
        Question(runs=1, samples=1),
        Question(runs=0),
        Question(target=1.2),
        Question(check_share=1),
    ],
)
def test_a_question_without_sense_is_refused(question):
    with pytest.raises(ConfigError):
        plan_next_runs(sweep(), "test_accuracy", question)


def test_noise_leans_on_public_curves_until_there_are_runs():
    rng = np.random.default_rng(3)
    few = [rng.normal(0, 0.1, 2) for _ in SIZES]
    many = [rng.normal(0, 10 * n**-0.5, 2000) for n in SIZES]
    assert noise_of(SIZES, few).exponent == pytest.approx(-0.2, abs=0.15)
    found = noise_of(SIZES, many)
    assert found.exponent == pytest.approx(-0.5, abs=0.03)
    assert found.variance_at([400])[0] == pytest.approx(0.25, rel=0.05)
    assert noise_of([100], [np.array([0.5])], 0.02).variance_at([100])[0] == pytest.approx(0.0004)


TOML = """
[experiments.digits]
dataset = "digits"
model   = "mlp"
sizes   = [40, 80, 160, 320, 640, 1280]
seeds   = SEEDS
subset  = { seeds = [0] }
budget  = { samples = 6400 }
batch_size = 32
evaluate = { times = 4 }
"""


def test_the_command_names_runs_beyond_the_sweep_and_the_line_that_lists_them(project, monkeypatch, capsys):
    monkeypatch.chdir(project.root)
    for spec in fake_sweep(subset_seeds=(0,)):
        write_run(project, spec)
    project.experiments.write_text(TOML.replace("SEEDS", "[0, 101, 202]"))
    arguments = ["plan", "digits", "--at", "5000", "--runs", "6", "--json"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert sum(document["lacking_seeds"].values()) == len(document["run_ids"]) == 6
    added = {str(size["train_size"]): size["add"] for size in document["sizes"] if size["add"]}
    found = [run_id.split("-")[1].removeprefix("n") for run_id in document["run_ids"]]
    assert {size: found.count(size) for size in added} == added
    # With the line that it prints the sweep lists the same runs.
    seeds = next(line for line in printed.err.splitlines() if line.startswith("seeds = "))
    project.experiments.write_text(TOML.replace("seeds   = SEEDS", seeds))
    assert main(arguments) == 0
    printed = capsys.readouterr()
    again = json.loads(printed.out)
    assert (again["run_ids"], again["lacking_seeds"], printed.err) == (document["run_ids"], {}, "")


@pytest.mark.parametrize(("share", "new", "old"), [(0.0, "seed", "draw"), (0.6, "draw", "seed")])
def test_further_runs_have_other_seeds_or_where_draws_matter_other_draws(share, new, old):
    plan = plan_next_runs(sweep(), "test_accuracy", Question(runs=8))
    assert isinstance(plan, Plan)
    plan = replace(plan, draw_share=share)
    cells = fake_sweep(sizes=SIZES.astype(int).tolist())
    none, every = (there_of(specs) for specs in (cells[:1], cells))
    assert len(propose(plan, cells, none).listed) > len(propose(plan, cells, every).listed) == 0
    proposal = propose(plan, cells, every)
    assert len({spec.run_id for spec in proposal.further}) == plan.n_added == 8
    known, beyond = (
        {"seed": {s.seed for s in specs}, "draw": {s.subset.seed for s in specs}}
        for specs in (cells, proposal.further)
    )
    assert not beyond[new] & known[new]
    assert beyond[old] <= known[old]
    assert ("subset.seeds = {" in proposal.words) == (new == "draw")
    # What is queued by now is not proposed again.
    later = propose(plan, cells, there_of([*cells, *proposal.further]))
    assert not {spec.run_id for spec in later.specs} & {spec.run_id for spec in proposal.further}


def there_of(specs: list[RunSpec]) -> pl.DataFrame:
    """Runs as far as a proposal looks at them."""
    rows = [
        {
            "run_id": spec.run_id, "state": "queued", "seed": spec.seed, "subset_seed": spec.subset.seed,
            "batch_size": spec.batch_size,
        }
        for spec in specs
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_a_larger_size_is_spoken_of_where_it_would_tell_more():
    far = plan_next_runs(sweep(), "test_accuracy", Question(at=12_800, runs=10))
    assert isinstance(far, Plan)
    assert far.half_width_beyond is not None
    assert far.half_width_beyond < 0.9 * far.half_width_then
    assert any("As many runs at 3,200 images would leave ± " in sentence for sentence in plan_words(far))
    within = plan_next_runs(sweep(), "test_accuracy", Question(at=800, runs=10))
    assert isinstance(within, Plan)
    assert within.half_width_beyond is None


def test_sizes_that_are_not_fitted_are_named_where_too_few_are_left():
    failure = plan_next_runs(sweep(), "test_accuracy", Question(fit_from=1000))
    assert isinstance(failure, FitFailure)
    assert failure.reason.startswith("has too few sizes for a plan")
    assert failure.reason.endswith("; sizes below 1,000 are left out")


def test_every_table_and_the_words_are_printed(fake_project, monkeypatch, capsys):
    monkeypatch.chdir(fake_project.root)
    for table in ("audit", "groups", "variance", "plan"):
        assert main(["export", "--table", table, "--format", "json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), list)
    assert main(["analyze", "digits", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["groups"]
    assert document["variance"][0]["design"] == "crossed"
    assert document["schema_version"] == 2
