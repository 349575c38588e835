"""What is told and refused of image folders before they are queued; no experiment mixes their rules."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from tests.fakes import write_run
from tests.tui.fake_queue import CPU_ONLY
from tests.unit.image_desk import BOTH, image_folder, names
from tests.unit.test_store import new_job
from tui_datasize.cli.dispatch import main
from tui_datasize.cli.doctor import Check, _project
from tui_datasize.errors import ConfigError
from tui_datasize.experiments.catalogue import folder_listing
from tui_datasize.experiments.groups import groups_of
from tui_datasize.experiments.images.reading import ImageReading
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.state import JobState
from tui_datasize.jobs.queue.store import Store
from tui_datasize.jobs.rebuild import repair
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.training.datasets import load_dataset, load_tests
from tui_datasize.tui.polling.collect import Collector
from tui_datasize.tui.polling.record import ProjectRecord
from tui_datasize.tui.polling.snapshot import Interest

NEWEST = ImageReading(rules=2)
SKIP = ImageReading(rules=2, on_bad_image="skip")
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
Make = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Make:
    """Make an image folder of these files, as `image_folder` does."""
    return partial(image_folder, tmp_path)


EXPERIMENT = """
[paths]
data = "."
[experiments.e]
dataset = "imagefolder:odd"
model = "mlp"
fractions = [0.5, 1.0]
budget = { updates = 2 }
image_px = 4
"""


@pytest.fixture
def project(tmp_path, monkeypatch) -> ProjectPaths:
    monkeypatch.delenv("DATASIZE_DATA", raising=False)
    (tmp_path / "experiments.toml").write_text(EXPERIMENT)
    return ProjectPaths(tmp_path)


def test_doctor_tells_of_sizes_that_differ(folder, project):
    root = folder(*BOTH)
    Image.new("L", (5, 4)).save(root / "train/cat/2.png")
    assert [check.verdict for check in _project(project)] == ["ok", "ok"]
    project.experiments.write_text(EXPERIMENT.replace("image_px = 4", ""))
    (_, check) = _project(project)
    assert (check.verdict, "set image_px" in check.text) == ("fail", True)


def test_what_is_done_with_files_is_told_before_they_are_queued(folder, project, capsys):
    root = folder(*BOTH, "train/cat/deep/2.png", "val/cat/1.png", "train/cat/notes.txt")
    Image.new("RGBA", (4, 4)).save(root / "train/dog/2.png")
    assert main(["queue", "e", "--dry-run", "--project", str(project.root)]) == 0
    told = "passed over: 1 in val/ (validation), 1 .txt; shown: 1 with transparency, laid on white"
    out, err = capsys.readouterr()
    assert f"imagefolder:odd: {told}" in err
    assert "e-n4-" in out
    checks = [check for check in _project(project) if check.name == "data set"]
    assert checks == [Check("data set", "warn", f"imagefolder:odd, 4 and 2 images of 2 classes; {told}")]
    images = load_dataset("imagefolder:odd", project.root, 4).images
    assert images["passed_over"] == {"in val/ (validation)": 1, ".txt": 1}
    assert images["treated"] == {"with transparency, laid on white": 1}


def test_bad_images_are_refused_when_they_are_queued(folder, project, capsys):
    root = folder(*BOTH)
    (root / "test/cat/2.png").write_bytes(b"none")
    for words in (["--dry-run"], []):
        assert main(["queue", "e", *words, "--project", str(project.root)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{root}/test/cat/2.png: image cannot be decoded" in line
    assert [check.verdict for check in _project(project)] == ["ok", "fail"]


def test_bad_images_of_a_further_test_set_are_refused_too(folder, project, capsys):
    root = folder(*BOTH, "far/cat/1.png")
    (root / "far/cat/2.png").write_bytes(b"none")
    project.experiments.write_text(f"{EXPERIMENT}tests = {{ far = 'imagefolder:odd/far' }}")
    assert main(["queue", "e", "--project", str(project.root)]) == 2
    assert f"{root}/far/cat/2.png: image cannot be decoded" in capsys.readouterr().err
    assert [check.verdict for check in _project(project)] == ["ok", "warn", "fail"]
    (root / "far/cat/2.png").unlink()
    assert [*_project(project)][-1].text == "imagefolder:odd/far, 1 further test images of 1 class"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("background = 'whitish'", "the name of a colour, or '#rrggbb'"),
        ("background = '#ff000080'", "the name of a colour, or '#rrggbb'"),
        ("split = 1.0", "below 1"),
        ("on_bad_image = 'ignore'", "fail, skip"),
        ("most_megapixels = 0", "above 0"),
        ("image_rules = 3", "at most 2"),
        ("sweep = { most_megapixels = [5, 6] }", "decide which images there are"),
        ("image_rules = 1\nbackground = 'black'", "by the newest rules"),
    ],
)
def test_keys_that_are_wrong_are_named(folder, project, text, told):
    folder(*BOTH)
    project.experiments.write_text(EXPERIMENT.replace("image_px = 4", text))
    with pytest.raises(ConfigError) as caught:
        plan_runs((loaded := load_project(project.experiments)).experiment("e"), loaded)
    assert told in caught.value.line


def test_a_sweep_never_mixes_two_versions_of_the_rules(folder, project, capsys):
    folder(*BOTH)
    client = QueueClient(project)
    file = project.experiments
    loaded = load_project(file)
    newest = plan_runs(loaded.experiment("e"), loaded)
    file.write_text(EXPERIMENT.replace("[experiments.e]", "[experiments.e]\nimage_rules = 1"))
    loaded = load_project(file)
    first = plan_runs(loaded.experiment("e"), loaded)
    assert {run.images.rules for run in newest} == {2}
    assert {run.images for run in first} == {ImageReading()}
    assert {run.run_id for run in first}.isdisjoint(run.run_id for run in newest)
    # A recorded specification stays what it was.
    recorded = {name: value for name, value in first[0].to_dict().items() if name != "images"}
    assert first[0].from_dict(recorded) == first[0]
    client.enqueue(first)
    assert len(client.enqueue(first).command_ids) == 0
    with pytest.raises(
        ConfigError, match=r"e: 2 runs read image files by rules 1, .* set image_rules = 1"
    ) as caught:
        client.enqueue(newest)
    assert "another name" in caught.value.line
    file.write_text(EXPERIMENT)
    assert main(["queue", "e", "--dry-run", "--project", str(project.root)]) == 2
    assert "set image_rules = 1" in capsys.readouterr().err


def test_whatever_shows_runs_of_older_rules_says_why_they_do_not_count(folder, project, capsys):
    """The list of experiments, an analysis, a plan, and the app, each with the way out."""
    folder(*BOTH, "train/cat/2.png", "train/dog/2.png")
    loaded = load_project(project.experiments)
    for run in plan_runs(loaded.experiment("e"), loaded):
        write_run(project, replace(run, images=ImageReading()), accuracy=0.5)
    repair(project)
    told = (
        "e: 2 runs read image files by rules 1, new ones would by rules 2: they do not compare; "
        "set image_rules = 1"
    )
    capsys.readouterr()
    for words in (["experiments"], ["analyze", "e"], ["plan", "e", "--runs", "2"]):
        main([*words, "--project", str(project.root)])
        out, err = capsys.readouterr()
        assert told in " ".join(f"{out} {err}".split())
    looker = Collector(project, QueueClient(project), partial(ProjectRecord, project), lambda: CPU_ONLY)
    (plan,) = looker.collect(Interest()).experiments
    assert plan.told.startswith(told)
    project.experiments.write_text(EXPERIMENT.replace("[experiments.e]", "[experiments.e]\nimage_rules = 1"))
    main(["experiments", "--project", str(project.root)])
    assert "2     2" in (out := capsys.readouterr().out)
    assert "image_rules" not in out
    (plan,) = looker.collect(Interest()).experiments
    assert plan.told == ""


@pytest.mark.parametrize(
    ("state", "is_refused"), [("succeeded", True), ("failed", False), ("cancelled", False)]
)
def test_runs_without_numbers_are_mixed_with_none(folder, project, state, is_refused):
    folder(*BOTH)
    loaded = load_project(project.experiments)
    runs = plan_runs(loaded.experiment("e"), loaded)
    first = replace(runs[0], images=ImageReading())
    document = json.dumps({"spec": first.to_dict()})
    project.runs.mkdir()
    with closing(Store(project.queue)) as store, store.transaction():
        store.add(new_job(first.run_id, JobState(state), experiment="e", document=document))
    with (
        pytest.raises(ConfigError, match="1 run read image files") if state == "succeeded" else nullcontext()
    ):
        QueueClient(project).check_images(runs, project.root)


def test_the_first_rules_list_what_they_listed(folder):
    root = folder(*BOTH, "train/cat/deep/2.png", "train/cat/3.gif", "Test/cat/9.png")
    listing = folder_listing("imagefolder:odd", root.parent, ImageReading())
    assert names(listing) == (
        [["train/cat/1.png"], ["train/dog/1.png"]],
        [["test/cat/1.png"], ["test/dog/1.png"]],
    )
    assert not listing.passed_over


def test_a_further_test_set_is_read_alike(folder):
    root = folder(*BOTH, "far/Valid/cat/deep/1.png", "far/Valid/dog/2.png", "far/Valid/dog/none.png")
    (root / "far/Valid/dog/none.png").write_bytes(b"none")
    whole = load_dataset("imagefolder:odd", root.parent, 4, SKIP)
    tested = load_tests("imagefolder:odd/far", root.parent, whole, whole.class_names, SKIP)
    assert tested.labels.tolist() == [0, 1]


def test_the_first_rules_find_the_arrays_that_they_made(folder):
    """Queued or interrupted runs of before go on: the name of the cache is what it was."""
    root = folder(*BOTH)
    digest = hashlib.blake2b(digest_size=8)
    for file in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"):
        status = (root / file).stat()
        digest.update(f"{root / file}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    load_dataset("imagefolder:odd", root.parent, 4, ImageReading())
    assert (root.parent / "arrays" / f"imagefolder-{digest.hexdigest()}-px4-v1").is_dir()


def test_groups_of_test_images_are_found_by_any_way_to_write_their_names(folder, project):
    folder(f"train/{NFC}/1.png", f"test/{NFD}/deep/é1.png", f"test/{NFC}/2.png")
    (project.root / "groups.csv").write_text(f"test/{NFC}/deep/é1.png,old\n2.png,new\n", encoding="utf-8")
    project.experiments.write_text(EXPERIMENT + 'groups = "groups.csv"\n')
    found = groups_of(project.experiments, "e", {NFC: 2})
    assert sorted(found) == ["new", "old"]
