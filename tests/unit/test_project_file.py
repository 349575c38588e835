"""Changes of `experiments.toml` by a program: shown, and nothing else of the file is touched."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from tui_datasize.errors import ConfigError, StorageError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import plan_runs
from tui_datasize.experiments.toml import read_toml
from tui_datasize.runlog.project_file import with_experiment, with_lines

LISTED = """# Mine, aligned by hand.
[experiments.digits]   # the only one
dataset = "digits"
model   = "mlp"
sizes   = [40, 80]
budget  = { updates = 10 }
"""
IN_ONE_LINE = (
    'experiments = { digits = { dataset = "digits", model = "mlp", sizes = [40], budget = { updates = 1 } } }'
)
ALSO = "\n[[experiments.digits.also]]\nsizes = [160]\nseeds = [1, 2]\ndraws = [0]\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("is_linked", [False, True])
def test_lines_are_added_to_a_project_file_whose_own_text_stays(end: str, is_linked: bool, tmp_path: Path):
    file, text = tmp_path / "experiments.toml", LISTED.replace("\n", end)
    place = tmp_path / "elsewhere.toml" if is_linked else file
    place.write_bytes(text.encode())
    place.chmod(0o640)
    if is_linked:
        file.symlink_to(place)
    with_lines(file, ALSO).write()
    assert place.read_bytes().decode() == text + ALSO.replace("\n", end)
    assert place.stat().st_mode & 0o777 == 0o640
    assert file.is_symlink() is is_linked
    project = load_project(file)
    runs = plan_runs(project.experiments["digits"], project)
    assert sorted(run.train_size for run in runs) == [40, 80, 160, 160]
    assert {path.name for path in tmp_path.iterdir()} == {file.name, place.name}


@pytest.mark.parametrize(
    ("text", "lines", "says"),
    [
        (LISTED + "epochs = 3\n", ALSO, "epochs"),
        (IN_ONE_LINE, ALSO, "cannot be extended"),
        (LISTED, "[[experiments.digits.also]]\nsizes = 3\n", "cannot be extended"),
    ],
    ids=["wrong before", "in one line", "wrong with the lines"],
)
def test_a_project_file_that_would_be_wrong_is_left_as_it_is(text, lines, says, tmp_path: Path):
    file = tmp_path / "experiments.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        with_lines(file, lines).write()
    assert file.read_text() == text
    assert list(tmp_path.iterdir()) == [file]


BETA = {"dataset": "digits", "model": "mlp", "sizes": [40, 80], "budget": {"updates": 10}}
STUDY = """# Mine.
[paths]                      # of the lab
data = "images"

[experiments.alpha]          # the first
dataset = "digits"           # they come with scikit-learn
model   = { name = "resnet", depth = 8 }   # a small one
sizes   = [40,  # few
           80]
budget  = { updates = 10 }
# nothing swept below
[experiments.alpha.sweep]
"optimizer.lr" = [1e-2, 3e-2]  # both

# And another.
[experiments."b.c"]
dataset = "mnist"
model   = "mlp"
sizes   = [1_000]
budget  = { epochs = 1 }
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_experiment_is_changed_in_its_place_and_every_comment_stays(
    end: str, encoding: str, tmp_path: Path
):
    file = tmp_path / "experiments.toml"
    file.write_bytes(STUDY.replace("\n", end).encode(encoding))
    values = read_toml(file)["experiments"]["alpha"] | {"seeds": [1, 2], "model": {"name": "mlp"}}
    values["sweep"] = {"optimizer.lr": [1e-2, 0.1]}
    change = with_experiment(file, "alpha", values)
    change.write()
    after = file.read_bytes().decode(encoding)
    assert read_toml(file)["experiments"]["alpha"] == values
    for line in STUDY.split("\n"):
        _, mark, comment = line.partition("#")
        assert mark + comment in after
    gone = [line for line in change.difference if line.startswith("-")]
    assert len(gone) == 2
    assert after.count(end) == after.count("\n")
    load_project(file)


@pytest.mark.parametrize(
    ("text", "is_changed"),
    [
        (LISTED + "\n# Of beta.\n[experiments.beta]\n" + LISTED.partition("one\n")[2], True),
        (
            LISTED + "\n[devices]\ncpu = true\n[experiments.digits.sweep] # of it\nbatch_size = [8]\n",
            False,
        ),
        (LISTED.replace("# the only one\n", "\n# Nothing else.\n"), True),
        (IN_ONE_LINE, True),
    ],
    ids=["before another", "in two places", "last", "in one line"],
)
def test_a_table_that_is_new_in_an_experiment_stands_behind_it(text: str, is_changed: bool, tmp_path: Path):
    file = tmp_path / "experiments.toml"
    file.write_text(text)
    width = {"low": 8, "high": 64, "integer": True}
    values = {**read_toml(file)["experiments"]["digits"], "validation": 0.5}
    values |= {"search": {"count": 2, "model.hidden": width}}
    values.pop("sweep", None)
    if not is_changed:
        with pytest.raises(ConfigError, match=r"by hand|would be lost"):
            with_experiment(file, "digits", values).write()
        return
    change = with_experiment(file, "digits", values)
    change.write()
    assert load_project(file).experiments["digits"].search
    lines = file.read_text().splitlines()
    if "# Of beta." in lines:
        assert lines[lines.index("# Of beta.") + 1] == "[experiments.beta]"
    assert '"model.hidden" = { low = 8, high = 64, integer = true }' in file.read_text()


def test_a_new_experiment_comes_behind_all_that_is_there(tmp_path: Path):
    file = tmp_path / "experiments.toml"
    values = BETA | {"title": 'a "b" \\ c', "sweep": {"model.layers": [1, 2]}}
    with_experiment(file, "beta", values).write()
    first = file.read_text()
    assert read_toml(file)["experiments"] == {"beta": values}
    assert load_project(file).experiments["beta"].n_runs == 4
    change = with_experiment(file, "c.d", BETA | {"also": [{"sizes": [160]}]})
    assert all(line[0] in " +" for line in change.difference)
    change.write()
    assert file.read_text().startswith(first)
    assert load_project(file).experiments["c.d"].n_runs == 3


def test_a_file_that_an_editor_has_saved_meanwhile_is_left_as_it_is(tmp_path: Path):
    file = tmp_path / "experiments.toml"
    new = with_experiment(file, "beta", BETA)
    file.write_text(STUDY)
    known = with_experiment(file, "beta", BETA)
    file.write_text(STUDY + "# a line more\n")
    for change in (new, known):
        with pytest.raises(StorageError, match="changed just now"):
            change.write()
    assert file.read_text() == STUDY + "# a line more\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_was_made_read_only_is_left_as_it_is(tmp_path: Path):
    file = tmp_path / "experiments.toml"
    file.write_text(LISTED)
    file.chmod(0o444)
    with pytest.raises(StorageError, match=r"experiments\.toml: is read-only; chmod u\+w it"):
        with_lines(file, ALSO).write()
    assert file.read_text() == LISTED
    assert {path.name for path in tmp_path.iterdir()} == {file.name}


def test_what_cannot_be_changed_in_its_place_is_refused(tmp_path: Path):
    file = tmp_path / "experiments.toml"
    file.write_text(LISTED.replace('model   = "mlp"', 'model.name = "mlp"'))
    with_experiment(file, "digits", BETA).write()
    assert load_project(file).experiments["digits"].n_runs == 2
    with pytest.raises(ConfigError, match="cannot be extended"):
        with_experiment(file, "digits", BETA | {"sizes": [0]}).write()


OTHER = '[experiments.other]\ndataset = "digits"\nmodel = "mlp"\nsizes = [40]\nbudget = { updates = 1 }\n'
SWEPT = '"optimizer.lr" = [0.1, 0.2]\n'
KEYS = LISTED.partition("# the only one\n")[2]
IN_DOTS = KEYS.replace("dataset", "digits.dataset").replace("\n", "\ndigits.").removesuffix("digits.")
FORMS = {
    "apart": f"{LISTED}{OTHER}[experiments.digits.sweep] # both\n{SWEPT}",
    "sweep first": f"[experiments.digits.sweep] # both\n{SWEPT}{OTHER}{LISTED}",
    "dots": f"# Mine.\n{IN_DOTS}digits.sweep.{SWEPT}".replace("digits.", "experiments.digits."),
    "dots in a table": f"[experiments] # all\n{IN_DOTS}digits.sweep.{SWEPT}",
    "braces": IN_ONE_LINE,
}


@pytest.mark.parametrize("form", FORMS)
def test_an_experiment_is_changed_and_another_comes_whatever_their_form(form: str, tmp_path: Path):
    file = tmp_path / "experiments.toml"
    file.write_text(FORMS[form])
    values = read_toml(file)["experiments"]["digits"] | {"title": "t", "sizes": [40, 160]}
    values |= {"seeds": {"count": 2, "step": 101}, "sweep": {"optimizer.lr": [0.1, 0.3]}}
    with_experiment(file, "digits", values).write()
    with_experiment(file, "fresh", BETA).write()
    found = read_toml(file)["experiments"]
    assert (found["digits"], found["fresh"]) == (values, BETA)
    assert file.read_text().count("#") == FORMS[form].count("#")
    assert set(load_project(file).experiments) == set(found)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sizes": [40, 160]}, '"# few" in sizes would be lost'),
        ({"sweep": {"model.depth": [8, 14]}}, '"# both" in sweep.optimizer.lr would be lost'),
    ],
)
def test_a_comment_that_would_go_is_named_with_its_key(change, says, tmp_path: Path):
    file = tmp_path / "experiments.toml"
    file.write_text(STUDY)
    alpha = read_toml(file)["experiments"]["alpha"]
    with pytest.raises(ConfigError, match=f"alpha cannot be changed here: the comment {says}; move it above"):
        with_experiment(file, "alpha", alpha | change)
    assert file.read_text() == STUDY


def test_what_a_program_cannot_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "experiments.toml"
    file.write_text(STUDY)
    alpha = read_toml(file)["experiments"]["alpha"]
    for name, values in (("beta", BETA), ("alpha", alpha)):
        with pytest.raises(ConfigError, match="which is no character"):
            with_experiment(file, name, values | {"title": "a\udc80"})
    monkeypatch.setattr("tomlkit.dumps", Mock(side_effect=IndexError))
    with pytest.raises(ConfigError, match="by hand"):
        with_experiment(file, "alpha", alpha | {"seeds": [3]})
    assert file.read_text() == STUDY
