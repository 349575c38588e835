"""Which run a transfer takes its weights from, and that it is queued before."""

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sources import needed
from tui_datasize.experiments.sweep import check_runs, plan_runs, source_runs
from tui_datasize.experiments.variants import variant_labels

PROJECT = """
[experiments.halves]
dataset = "digits"
model   = "mlp"
sizes   = [80, 400]
seeds   = [0, 1]
budget  = { updates = 10 }
sweep   = { classes = ["source", "target"] }

[experiments.moved]
dataset = "digits"
model   = "mlp"
sizes   = [40]
seeds   = [1, 7]
budget  = { updates = 10 }
[experiments.moved.sweep]
classes  = ["target", "source"]
transfer = ["none", { from = "halves", layers = "all" }, { from = "halves", layers = 1, freeze = true }]
"""


@pytest.fixture
def project(tmp_path):
    def load(text: str = PROJECT):
        file = tmp_path / "experiments.toml"
        file.write_text(text)
        return load_project(file, environment={})

    return load


def test_a_source_saw_the_other_half_with_the_same_seed_and_the_most_images(project):
    loaded = project(PROJECT.replace("seeds   = [1, 7]", "seeds   = [1]"))
    specs = plan_runs(loaded.experiment("moved"), loaded)
    sources = {run.run_id: run for run in source_runs(specs, loaded)}
    assert len(sources) == 2
    for spec in specs:
        for source in (sources[run_id] for run_id in spec.sources):
            assert {source.classes.half, spec.classes.half} == {"source", "target"}
            assert (source.train_size, source.seed, source.experiment) == (400, 1, "halves")
    assert sum(not spec.sources for spec in specs) == 2


def test_conditions_are_variants_whatever_their_source(project):
    loaded = project(PROJECT.replace("seeds   = [1, 7]", "seeds   = [0, 1]"))
    labels = variant_labels(plan_runs(loaded.experiment("moved"), loaded))
    assert set(labels.values()) == {
        f"{condition} half={half}" for half in ("source", "target") for condition in ("base", "FTall", "S1T")
    }


def test_a_seed_that_no_source_has_is_refused_unless_one_run_alone_fits(project):
    loaded = project()
    with pytest.raises(ConfigError, match="2 runs could be the source of seed 7"):
        plan_runs(loaded.experiment("moved"), loaded)
    alone = project(PROJECT.replace("seeds   = [0, 1]", "seeds   = [0]"))
    specs = plan_runs(alone.experiment("moved"), alone)
    assert len(source_runs(specs, alone)) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('from = "halves"', 'from = "hlaves"', r"moved\.transfer\.from: no experiment 'hlaves'"),
        ('classes  = ["target", "source"]', "", "no run of mlp on all classes to take weights from"),
        ('from = "halves"', 'from = "moved"', "a circle of transfers: moved from moved"),
    ],
)
def test_a_source_that_cannot_be_is_one_line(project, old, new, message):
    loaded = project(PROJECT.replace(old, new).replace("seeds   = [1, 7]", "seeds   = [1]"))
    with pytest.raises(ConfigError, match=message):
        plan_runs(loaded.experiment("moved"), loaded)


def test_a_run_may_be_named_by_its_id(project):
    loaded = project()
    source = plan_runs(loaded.experiment("halves"), loaded)[0]
    named = project(PROJECT.replace('from = "halves"', f'from = "{source.run_id}"'))
    specs = plan_runs(named.experiment("moved"), named)
    assert {run_id for spec in specs for run_id in spec.sources} == {source.run_id}


def test_only_the_sources_of_the_chosen_runs_are_needed(project):
    loaded = project(PROJECT.replace("seeds   = [1, 7]", "seeds   = [0, 1]"))
    specs = plan_runs(loaded.experiment("moved"), loaded)
    known = {run.run_id: run for run in source_runs(specs, loaded)}
    assert len(known) == 4
    (one,) = [
        s for s in specs if s.transfer and s.transfer.freeze and s.seed == 0 and s.classes.half == "source"
    ]
    assert [run.run_id for run in needed([one], known)] == list(one.sources)


@pytest.mark.parametrize("seeds", ["[1]", "[0, 1]", "[7]"])
def test_a_check_of_runs_that_take_weights_says_what_planning_says(project, seeds):
    loaded = project(PROJECT.replace("seeds   = [1, 7]", f"seeds   = {seeds}"))
    experiment, said = loaded.experiment("moved"), []
    for look in (plan_runs, check_runs):
        try:
            look(experiment, loaded)
        except ConfigError as error:
            said.append(error.line)
    assert len(said) == 2 * (seeds == "[7]")
    assert len(set(said)) <= 1


def test_sources_are_the_same_however_many_seeds_and_draws_they_have(project):
    """Only those of the runs that ask are planned."""
    text = PROJECT.replace("seeds   = [1, 7]", "seeds   = [0, 1]\nsubset = { seeds = [3] }")
    narrow = project(
        text.replace("seeds   = [0, 1]\nbudget", "seeds   = [0, 1]\nsubset = { seeds = [3] }\nbudget")
    )
    wide = project(
        text.replace(
            "seeds   = [0, 1]\nbudget", "seeds   = { count = 90 }\nsubset = { seeds = [0, 1, 2, 3] }\nbudget"
        )
    )
    planned = [plan_runs(loaded.experiment("moved"), loaded) for loaded in (narrow, wide)]
    assert planned[0] == planned[1]
