"""The key of images without labels: what it means, what it refuses, and that it renames no run."""

from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from PIL import Image

from tests.fakes import fake_spec
from tui_datasize.answers.plan import room_of
from tui_datasize.errors import DatasizeError
from tui_datasize.experiments.catalogue import dataset_info
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.packing import memory_key, pack_key
from tui_datasize.experiments.recipe_columns import recipe_values
from tui_datasize.experiments.spec import RunSpec
from tui_datasize.experiments.sweep import expand, plan_runs
from tui_datasize.experiments.unlabelled import Unlabelled
from tui_datasize.experiments.variants import variant_labels
from tui_datasize.jobs.queue.image_files import check_images, has_image_files
from tui_datasize.stats.levers import baseline_of

FIXMATCH = Unlabelled("fixmatch")


@pytest.fixture
def read(tmp_path):
    def runs(body: str, sizes: str = "sizes = [40]"):
        file = tmp_path / "experiments.toml"
        file.write_text(
            f"[experiments.e]\ndataset = 'digits'\nmodel = 'mlp'\n{sizes}\n"
            f"budget = {{ updates = 10 }}\n{body}\n"
        )
        return expand(load_project(file, environment={}).experiment("e"), dataset_info("digits", Path()))

    return runs


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("unlabelled = 'none'", Unlabelled()),
        ("unlabelled = 'fixmatch'", FIXMATCH),
        ("unlabelled = { method = 'fixmatch', ratio = 7, threshold = 0.95, weight = 1 }", FIXMATCH),
        ("unlabelled = { method = 'pseudo-label', ramp = 0 }", Unlabelled("pseudo-label", ramp=0)),
        (
            "unlabelled = { method = 'mean-teacher', from = 'imagefolder:x' }\nema_decay = 0.9",
            Unlabelled("mean-teacher", source="imagefolder:x"),
        ),
    ],
)
def test_what_the_table_means_and_survives_its_document(read, body, value):
    (spec,) = read(body)
    assert spec.unlabelled == value
    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert (spec.run_id == read("")[0].run_id) == (value == Unlabelled())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "unlabelled = 'mixmatch'",
            "method: expected one of none, fixmatch, pseudo-label, mean-teacher, got",
        ),
        ("unlabelled = { method = 'fixmatch', ratio = 0 }", "ratio: expected a whole number of at least 1"),
        ("unlabelled = { method = 'fixmatch', threshold = 0 }", "threshold: expected a number above 0"),
        ("unlabelled = { method = 'fixmatch', threshold = 1.1 }", "at most 1, got 1.1"),
        ("unlabelled = { method = 'fixmatch', weight = 0 }", "weight: expected a number above 0"),
        ("unlabelled = { method = 'fixmatch', ramp = 0.4 }", "ramp belongs to method = pseudo-label or"),
        (
            "ema_decay = 0.9\nunlabelled = { method = 'mean-teacher', threshold = 0.9 }",
            "threshold belongs to method = fixmatch or pseudo-label; leave it out",
        ),
        ("unlabelled = { method = 'none', ratio = 2 }", "ratio belongs to method = fixmatch or pseudo-label"),
        ("unlabelled = { ratio = 2 }", "ratio belongs to method = fixmatch or pseudo-label"),
        ("unlabelled = { method = 'fixmatch', from = 'mnist' }", "from: expected imagefolder:PATH, got"),
        ("unlabelled = { method = 'fixmatch', from = 'imagefolder:' }", "from: expected imagefolder:PATH"),
        ("unlabelled = 'mean-teacher'", "mean-teacher needs ema_decay, the average of weights that is"),
    ],
)
def test_what_is_refused_in_one_line(read, body, message):
    with pytest.raises(DatasizeError) as caught:
        read(body)
    assert message in caught.value.line
    assert "experiments.e" in caught.value.line


def test_a_size_that_leaves_nothing_without_a_label_is_refused(read):
    everything = dataset_info("digits", Path()).train_images
    with pytest.raises(DatasizeError, match="0 of 1,437 images are left without a label at size 1437"):
        read("unlabelled = 'fixmatch'", f"sizes = [40, {everything}]")
    with pytest.raises(DatasizeError, match=r"0 of \d+ images are left without a label at size \d+"):
        read("classes = 'target'\nunlabelled = 'fixmatch'", "fractions = [0.5, 1.0]")
    assert len(read("", f"sizes = [40, {everything}]")) == 2
    others = "unlabelled = { method = 'fixmatch', from = 'imagefolder:x' }"
    assert len(read(others, f"sizes = [40, {everything}]")) == 2


def test_such_runs_share_no_process_and_their_memory_is_learned_apart():
    plain, other = fake_spec(), fake_spec(unlabelled=FIXMATCH)
    assert pack_key(plain)
    assert pack_key(other) == ""
    larger = {"train_size": 4 * plain.train_size}
    ratio = fake_spec(unlabelled=Unlabelled("fixmatch", ratio=2))
    named = [memory_key(one) for one in (plain, other, fake_spec(unlabelled=FIXMATCH, **larger), ratio)]
    assert len({*named}) == 4
    assert memory_key(fake_spec(**larger)) == named[0]
    # Images of a folder are as many at each size.
    folder = {"unlabelled": Unlabelled("fixmatch", source="imagefolder:x")}
    assert memory_key(fake_spec(**folder)) == memory_key(fake_spec(**folder, **larger))


def test_tables_and_levers_name_it_in_a_word():
    plain, other = fake_spec(), fake_spec(unlabelled=FIXMATCH)
    assert [*variant_labels([plain, other]).values()] == ["unlabelled=none", "unlabelled=fixmatch"]
    assert [recipe_values(one)["unlabelled"] for one in (plain, other)] == ["none", "method=fixmatch"]
    runs = pl.DataFrame(
        {
            "variant": [f"unlabelled={one.unlabelled.method}" for one in (other, plain)],
            "unlabelled": [recipe_values(one)["unlabelled"] for one in (other, plain)],
            "parameters": [1, 1],
            "label_noise": [0.0, 0.0],
            "imbalance": [1.0, 1.0],
        }
    )
    assert baseline_of(runs) == "unlabelled=none"


def test_a_folder_that_cannot_be_learned_from_is_told_before_it_is_queued(tmp_path):
    for name, side in (("wild/a/b", 8), ("large", 9), ("empty", 0)):
        (tmp_path / name).mkdir(parents=True)
        if side:
            Image.new("L", (side, 8)).save(tmp_path / name / "1.png")
    file = tmp_path / "experiments.toml"

    def queue(source: str):
        file.write_text(
            f"paths.data = '{tmp_path}'\n[experiments.e]\ndataset = 'digits'\nmodel = 'mlp'\nsizes = [40]\n"
            f"budget.updates = 10\nunlabelled = {{ method = 'fixmatch', from = '{source}' }}\n"
        )
        project = load_project(file, environment={})
        runs = plan_runs(project.experiment("e"), project)
        check_images(runs, project.data_dir)
        return runs

    for source, told in (
        ("imagefolder:far", "experiments.e.unlabelled.from: DATA/far: is not there; correct the path"),
        ("imagefolder:empty", "experiments.e.unlabelled.from: DATA/empty: no images"),
        ("imagefolder:large", "DATA/large/1.png: 9x8 pixels, but digits has 8x8; resize them, or set"),
    ):
        with pytest.raises(DatasizeError) as caught:
            queue(source)
        assert told.replace("DATA", str(tmp_path)) in caught.value.line
    (run,) = queue("imagefolder:wild")
    # Files are read by rules, which are part of what a run is.
    assert run.images.rules == 2
    assert has_image_files([run])


@pytest.mark.parametrize(("rule", "most"), [(FIXMATCH, 29), (Unlabelled(), 30)])
def test_a_plan_leaves_an_image_without_a_label(rule, most):
    record = SimpleNamespace(images_of=lambda _: [10, 20], sweep=())
    assert room_of(record, pl.DataFrame(), [fake_spec(unlabelled=rule)]).most == most
