from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.fakes import fake_sweep, write_run
from tui_datasize.answers.plan import plan_words
from tui_datasize.answers.proposal import propose
from tui_datasize.cli.dispatch import main
from tui_datasize.errors import ConfigError, DatasizeError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import listed_runs, plan_runs
from tui_datasize.stats.fits import FitFailure
from tui_datasize.stats.noise import noise_of
from tui_datasize.stats.placing import NO_ROOM, UNKNOWN_ROOM, Room, new_sizes, place_runs
from tui_datasize.stats.plan_table import PLAN, plans_table
from tui_datasize.stats.planner import Plan, plan_next_runs
from tui_datasize.stats.question import Question
from tui_datasize.stats.summary import analyse_curves
from tui_datasize.stats.variance import split_variance

SIZES = np.array([100.0, 200, 400, 800, 1600])
ONE = np.ones(5)


def sweep(sizes=SIZES, seeds=2, sd=0.004, floor=0.05) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    rows = [
        {
            "run_id": f"{size}-{seed}", "experiment": "e", "variant": "", "train_size": int(size),
            "subset_seed": 0, "seed": seed, "state": "succeeded", "total_updates": 100, "batch_size": 10,
            "test_accuracy": 1 - floor - 4 * size**-0.5 + rng.normal(0, sd),
            "train_accuracy": 0.9, "wall_s": size / 100,
        }
        for size in sizes
        for seed in range(seeds)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def placed(plan: Plan) -> dict[int, int]:
    return {size.train_size: size.add for size in plan.sizes if size.add}


def test_most_runs_go_to_the_largest_size_and_more_to_the_upper_quarter_than_below():
    none = np.zeros(5, dtype=np.int64)
    assert place_runs(SIZES, none, ONE, 12).tolist() == [1, 1, 2, 2, 6]
    # What is there counts: the size that lacks most comes first.
    assert place_runs(SIZES, np.array([5, 5, 5, 5, 1]), ONE, 6).tolist() == [0, 0, 0, 0, 6]
    dear = place_runs(SIZES, none, SIZES, 4000.0)
    assert dear @ SIZES <= 4000
    assert place_runs(SIZES, none, SIZES, 99.0).sum() == 0


@pytest.mark.parametrize(
    ("sizes", "room", "new"),
    [
        ([100, 200, 400], Room(2000), [800]),
        ([100, 200, 400], Room(600), [600]),
        ([100, 200, 400], Room(450), []),
        ([100, 200, 400], UNKNOWN_ROOM, []),
        ([100, 400, 1600], UNKNOWN_ROOM, [800]),
        ([10, 30, 1000], Room(1990, unit=10), [170, 1990]),
    ],
)
def test_new_sizes_lie_beyond_the_largest_and_in_wide_steps_as_far_as_there_are_images(sizes, room, new):
    assert new_sizes(np.array(sizes, float), room) == new


def test_a_plan_says_the_interval_of_analyze_now_and_what_to_expect_of_it():
    runs = sweep(seeds=4)
    (curve,) = analyse_curves(runs, "test_accuracy")
    there = curve.outlook.at(6400)
    plan = plan_next_runs(runs, "test_accuracy", Question(runs=20), room=Room(10_000))
    assert (plan.at, plan.value, *plan.now) == pytest.approx((6400, there.value, there.low, there.high))
    assert plan.n_added == 20
    # A size twice the largest is there and narrows the answer more than anything else.
    assert placed(plan)[3200] >= 10
    assert [size.is_new for size in plan.sizes] == [False] * 5 + [True]
    now, then = plan.now[1] - plan.now[0], plan.then[1] - plan.then[0]
    assert 0.2 * now < then < 0.7 * now
    low, high, low_then, high_then = (f"{100 * end:.1f}" for end in (*plan.now, *plan.then))
    assert plan_words(plan)[0] == (
        f"6,400 images: {100 * plan.value:.1f} % foreseen, now {low} to {high} %; "
        f"after these 20 runs about {low_then} to {high_then} % (90 % sure)."
    )


def test_what_is_told_of_a_plan_is_what_the_forecast_is_then():
    rng = np.random.default_rng(2)
    runs, room = sweep(seeds=2), Room(10_000)
    plan = plan_next_runs(runs, "test_accuracy", Question(runs=12), room=room)
    further = [
        {**runs.row(0, named=True), "run_id": f"new-{size}-{i}", "train_size": size, "seed": 10 + i,
         "test_accuracy": 0.95 - 4 * size**-0.5 + rng.normal(0, 0.004)}
        for size, add in placed(plan).items() for i in range(add)
    ]  # fmt: skip
    (curve,) = analyse_curves(pl.concat([runs, pl.DataFrame(further, schema=runs.schema)]), "test_accuracy")
    there = curve.outlook.at(plan.at)
    assert plan.then[1] - plan.then[0] == pytest.approx(there.high - there.low, rel=0.5)
    assert there.high - there.low < 0.8 * (plan.now[1] - plan.now[0])


def test_where_no_size_may_come_none_is_named():
    runs = sweep(seeds=4)
    ahead = plan_next_runs(runs, "test_accuracy", Question(runs=20), room=NO_ROOM)
    assert set(placed(ahead)) <= {*SIZES}
    assert ahead.beyond is None
    between = plan_next_runs(runs, "test_accuracy", Question(at=560, runs=4), room=NO_ROOM)
    assert [size.train_size for size in between.sizes] == [400, 800]
    low, high = between.then
    assert low < between.value < high
    assert high - low < between.now[1] - between.now[0]


def test_a_plan_that_would_change_nothing_says_so_first_and_has_runs_only_for_a_budget():
    runs = sweep(seeds=10, sd=0.001)
    asked = plan_next_runs(runs, "test_accuracy", Question(runs=10))
    assert asked.n_added == 10
    words = plan_words(asked)
    assert words[0].startswith("10 more runs would not change the answer: 6,400 images: 89.")
    # What would help is told, for a data set of unknown size.
    assert (asked.beyond.train_size, asked.beyond.runs) == (3200, 3)
    low, high = asked.beyond.interval
    assert high - low < 0.8 * (asked.now[1] - asked.now[0])
    told = "3 runs at 3,200 images would narrow that to about"
    assert words[1].startswith(f"{told} {100 * low:.1f} to {100 * high:.1f} %")
    idle = plan_next_runs(runs, "test_accuracy")
    assert (idle.n_added, idle.seconds, idle.is_idle) == (0, 0, True)
    words = plan_words(idle, price="0 runs: about nothing")
    assert words[0].startswith("More runs would not change the answer: 6,400 images: 89.")
    assert words[0].endswith("(90 % sure). Give a budget to plan some all the same.")
    assert words[1].startswith(told)
    assert not any("Plan again" in text or "about nothing" in text for text in words)
    cells = fake_sweep(sizes=SIZES.astype(int).tolist())
    assert propose(idle, cells, there_of(cells)).specs == ()


def test_runs_at_a_larger_size_are_named_only_where_they_would_narrow_the_answer():
    size = pl.col("train_size")
    even = (pl.col("test_accuracy") + 4 * size**-0.5 - 8 / size).clip(upper_bound=1.0)
    plan = plan_next_runs(sweep(seeds=6, sd=0.01, floor=0.0).with_columns(even), "test_accuracy")
    assert (plan.is_idle, plan.beyond) == (True, None)
    (told,) = plan_words(plan)
    assert told.startswith("More runs would not change the answer")


def test_the_share_of_the_draw_is_that_of_the_sources_of_the_spread():
    rng = np.random.default_rng(5)
    of_draw = rng.normal(0, 0.02, (3, len(SIZES)))
    runs = pl.concat(
        sweep(seeds=4).with_columns(
            pl.col("test_accuracy") + pl.col("train_size").replace_strict(dict(zip(SIZES, own, strict=True))),
            subset_seed=pl.lit(draw), run_id=pl.concat_str(pl.col("run_id"), pl.lit(f"-{draw}")),
        )
        for draw, own in enumerate(of_draw)
    )  # fmt: skip
    plan = plan_next_runs(runs, "test_accuracy", Question(runs=10))
    (split,) = split_variance(runs, "test_accuracy")
    assert plan.draw_share == split.component("subset draw").share > 0.5
    assert f"{100 * plan.draw_share:.0f} % of the variance between runs is the subset draw" in " ".join(
        plan_words(plan)
    )


def test_an_answer_within_the_runs_is_measured_where_it_lies():
    runs = sweep(seeds=4)
    (curve,) = analyse_curves(runs, "test_accuracy")
    there = curve.curve.filter(train_size=800).row(0, named=True)
    plan = plan_next_runs(runs, "test_accuracy", Question(at=800, runs=12))
    assert placed(plan) == {800: 12}
    assert (plan.value, *plan.now) == pytest.approx((there["mean"], there["low"], there["high"]))
    of_run = np.sqrt(plan.noise.variance_at([800])[0])
    assert plan.then[1] - plan.then[0] == pytest.approx(2 * 1.96 * of_run / 4, rel=0.01)
    between = plan_next_runs(runs, "test_accuracy", Question(at=560))
    assert placed(between) == {560: 10}
    assert between.sizes[0].is_new
    true = 0.95 - 4 * 560**-0.5
    assert between.now[0] < true < between.now[1]
    assert between.beyond is None
    near = plan_next_runs(runs, "test_accuracy", Question(at=3000, runs=5), room=Room(3100))
    assert placed(near) == {3000: 5}


def test_a_target_asks_for_the_size_where_the_forecast_reaches_it():
    runs = sweep(seeds=6)
    (curve,) = analyse_curves(runs, "test_accuracy", Question(target=0.9))
    plan = plan_next_runs(runs, "test_accuracy", Question(target=0.9, runs=10))
    needed = curve.outlook.needed
    assert plan.at == needed.train_size
    assert plan.size_now[0] == needed.at_least
    assert plan_words(plan)[1].startswith("90 %: now ")
    beyond = plan_next_runs(runs, "test_accuracy", Question(target=0.99, runs=10))
    assert beyond.at == 8 * SIZES[-1]
    assert "99 %: now more than" in plan_words(beyond)[1]
    measured = plan_next_runs(runs, "test_accuracy", Question(target=0.78, runs=10))
    assert 400 < measured.at < 800
    assert placed(measured) == {round(measured.at): 10}
    assert plan_words(measured)[1] == "78 % is reached between 400 and 800 images."


def test_a_size_measured_on_few_images_gets_no_runs_and_spoils_no_other():
    rng = np.random.default_rng(4)
    runs = sweep(seeds=10)
    is_odd, few = pl.col("train_size") == 400, pl.Series(rng.binomial(100, 0.75, runs.height) / 100)
    odd = runs.with_columns(test_accuracy=pl.when(is_odd).then(few).otherwise("test_accuracy"))
    plan, sound = (plan_next_runs(each, "test_accuracy", Question(runs=20)) for each in (odd, runs))
    assert plan.odd == (400,)
    assert 400 not in placed(plan)
    assert sound.odd == ()
    assert plan.noise.sd_at_one == pytest.approx(sound.noise.sd_at_one, rel=0.3)
    assert any(words.startswith("No runs at 400 images") for words in plan_words(plan))


def test_a_plan_on_an_ill_shaped_curve_carries_the_doubt():
    rises = sweep(seeds=4, sd=0.001).with_columns(
        test_accuracy=pl.col("test_accuracy") - 0.1 * (pl.col("train_size") == 200)
    )
    words = plan_words(plan_next_runs(rises, "test_accuracy", Question(runs=1)))
    assert any("take the forecast as a guess" in sentence for sentence in words)
    assert not any("Plan again" in sentence for sentence in words)


def test_a_curve_that_the_laws_miss_has_no_plan():
    falls = sweep(seeds=4, sd=0.001).with_columns(test_accuracy=1 - pl.col("test_accuracy"))
    failure = plan_next_runs(falls, "test_accuracy")
    assert isinstance(failure, FitFailure)
    assert "misses the largest size, 1,600 images" in failure.reason


def test_a_plan_for_runs_that_are_all_equal_makes_sense():
    equal = sweep(seeds=3).with_columns(test_accuracy=pl.lit(1.0))
    plan = plan_next_runs(equal, "test_accuracy", Question(target=0.97, runs=18))
    words = plan_words(plan)
    assert words[:2] == ("100 images: 100.0 %, about 99.9 to 100.0 % after 18 more runs (95 % sure).",
                         "97 % is reached at the smallest size.")  # fmt: skip


def test_a_budget_in_samples_counts_the_images_seen():
    costs = {int(size): 10.0 * size for size in SIZES}
    plan = plan_next_runs(sweep(), "test_accuracy", Question(samples=40_000), costs)
    assert sum(size.samples for size in plan.sizes) <= 40_000
    assert plan.n_added > 2
    assert plan_next_runs(sweep(), "test_accuracy", Question(samples=10), costs) == FitFailure(
        "has a budget below the cost of one run"
    )


def test_a_budget_in_hours_counts_the_time_that_runs_took():
    plan = plan_next_runs(sweep(), "test_accuracy", Question(hours=0.05), room=Room(10_000))
    assert 100 < plan.seconds <= 180
    # A size that nobody ran takes as long as the others let expect.
    new = next(size for size in plan.sizes if size.is_new)
    assert new.seconds == pytest.approx(32 * new.add)


def test_runs_of_unknown_length_are_planned_by_their_number_alone():
    runs = sweep().with_columns(total_updates=pl.lit(None, pl.Int64))
    assert plan_next_runs(runs, "test_accuracy", Question(runs=5)).n_added == 5
    plan = plan_next_runs(runs, "test_accuracy", Question(samples=5))
    assert "give the budget in runs" in plan.reason
    untimed = plan_next_runs(runs.drop("wall_s"), "test_accuracy", Question(hours=5))
    assert "how many seconds they took" in untimed.reason


@pytest.mark.parametrize(
    ("at", "room", "low_at", "high_at"),
    [(600, NO_ROOM, 400, 800), (1000, Room(1437), 800, 1437), (1420, Room(1437), 1420, 1420)],
)
def test_an_answer_that_new_runs_enclose_is_expected_between_them(at, room, low_at, high_at):
    queued = sweep(SIZES[3:4]).with_columns(state=pl.lit("queued"), test_accuracy=None)
    runs = pl.concat([sweep(SIZES[:3], sd=0), queued], how="diagonal_relaxed")
    plan = plan_next_runs(runs, "test_accuracy", Question(at=at, runs=6), room=room)
    means = [0.95 - 4 * size**-0.5 for size in (low_at, high_at)]
    assert plan.then == pytest.approx(means, abs=0.02)
    low, high = (100 * end for end in plan.then)
    assert f"about {low:.1f} to {high:.1f} %" in plan_words(plan)[0]


def test_runs_on_their_way_count():
    runs = sweep()
    coming = runs.with_columns(state=pl.when(pl.col("seed") == 1).then(pl.lit("queued")).otherwise("state"))
    plan = plan_next_runs(coming, "test_accuracy", Question(runs=4))
    assert [size.runs for size in plan.sizes] == [2] * 5


@pytest.mark.parametrize(
    ("runs", "metric", "reason"),
    [
        (sweep(SIZES[:1]), "test_accuracy", "needs 3 sizes, has 1"),
        (sweep(SIZES[:2]), "test_accuracy", "needs 3 sizes, has 2"),
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
    assert plan.now[1] - plan.now[0] > 0.001
    assert any("is a guess" in sentence for sentence in plan_words(plan))


@pytest.mark.parametrize("accuracy", [0.9, 1.0])
def test_a_flat_curve_can_be_planned(accuracy):
    level = sweep().with_columns(test_accuracy=pl.lit(accuracy))
    noisy = level.with_columns(test_accuracy=accuracy - 0.001 * pl.col("seed"))
    for runs in (level, noisy):
        plan = plan_next_runs(runs, "test_accuracy", Question(runs=6))
        assert plan.n_added == 6
        assert plan.then[1] >= plan.then[0]


@pytest.mark.parametrize(
    "question",
    [
        Question(at=10, target=0.5),
        Question(runs=1, samples=1),
        Question(runs=0),
        Question(target=1.2),
        Question(hours=1, runs=1),
        Question(hours=0),
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


def test_the_command_names_runs_beyond_the_sweep_and_the_lines_that_list_exactly_them(
    project, monkeypatch, capsys
):
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
    # With the lines that it prints the sweep lists these runs, and no others.
    listed = {spec.run_id for spec in planned_runs(project)}
    written = project.experiments.read_text() + printed.err.partition("\n")[2]
    project.experiments.write_text(written)
    experiment = load_project(project.experiments).experiment("digits")
    now = {spec.run_id for spec in planned_runs(project)}
    assert now - listed == set(document["run_ids"])
    assert listed <= now
    assert experiment.n_runs == len(now) == len(listed) + 6
    assert listed_runs(experiment, load_project(project.experiments), now | {"other"}) == now
    assert main(arguments) == 0
    printed = capsys.readouterr()
    again = json.loads(printed.out)
    assert (again["run_ids"], again["lacking_seeds"], printed.err) == (document["run_ids"], {}, "")


def planned_runs(project):
    whole = load_project(project.experiments)
    return plan_runs(whole.experiment("digits"), whole)


SWEPT = """
[experiments.digits.sweep]
"optimizer.lr" = [0.1, 0.01]
"""


@pytest.mark.parametrize("is_swept", [False, True])
def test_blocks_of_a_plan_give_its_runs_whatever_their_sizes_seeds_draws_and_variant(project, is_swept):
    project.experiments.write_text(TOML.replace("SEEDS", "[0, 101]") + is_swept * SWEPT)
    sweep = planned_runs(project)
    cells = [spec for spec in sweep if not is_swept or spec.optimizer.lr == 0.01]
    plan = plan_next_runs(sweep_like(cells), "test_accuracy", Question(runs=14), room=Room(1437))
    for share in (0.0, 0.6):
        proposal = propose(replace(plan, draw_share=share), cells, there_of(cells), sweep)
        _, *lines = proposal.words.split("\n")
        project.experiments.write_text(
            TOML.replace("SEEDS", "[0, 101]") + is_swept * SWEPT + "\n".join(lines)
        )
        now = {spec.run_id for spec in planned_runs(project)}
        assert now - {spec.run_id for spec in sweep} == {spec.run_id for spec in proposal.further}
        assert len(proposal.further) == 14


def sweep_like(cells):
    """Runs of a sweep with values that laws describe."""
    rng = np.random.default_rng(1)
    rows = [
        {
            "run_id": spec.run_id, "experiment": "e", "variant": "", "train_size": spec.train_size,
            "subset_seed": 0, "seed": spec.seed, "state": "succeeded", "total_updates": 100,
            "batch_size": 10, "test_accuracy": 0.95 - 2 * spec.train_size**-0.5 + rng.normal(0, 0.004),
        }
        for spec in cells
    ]  # fmt: skip
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("sizes = [40]\nsedes = [1]", "also 1: unknown key 'sedes'"),
        ("seeds = [1]", "also 1.sizes: expected"),
        ("sizes = [99999]", "also 1.sizes: 99999 images, but digits has"),
        ("sizes = [40]\nvariant = 'lr=7'", "also 1.variant: expected"),
    ],
)
def test_a_wrong_block_is_one_line(project, block, says):
    text = TOML.replace("SEEDS", "[0]") + SWEPT + f"[[experiments.digits.also]]\n{block}\n"
    project.experiments.write_text(text)
    with pytest.raises(DatasizeError) as caught:
        planned_runs(project)
    assert says in caught.value.line


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


def test_sizes_that_are_not_fitted_are_named_where_too_few_are_left():
    failure = plan_next_runs(sweep(), "test_accuracy", Question(fit_from=1000))
    assert isinstance(failure, FitFailure)
    assert failure.reason.startswith("needs 3 sizes, has 1")
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
