"""experiments.toml: what is accepted, and the one line that refuses the rest."""

from pathlib import Path

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.project_tables import data_directory
from tui_datasize.experiments.spec import Budget, OptimizerSpec

MINIMAL = """
[experiments.small]
dataset = "digits"
model   = "mlp"
sizes   = [40, 80]
budget  = { updates = 10 }
"""


@pytest.fixture
def load(tmp_path):
    def write_and_load(text: str):
        file = tmp_path / "experiments.toml"
        file.write_text(text)
        return load_project(file, environment={})

    return write_and_load


def test_a_minimal_experiment_takes_the_documented_defaults(load):
    small = load(MINIMAL).experiment("small")
    assert (small.title, small.seeds, small.subset_seeds, small.strategy) == (
        "small",
        (0,),
        (0,),
        "stratified",
    )
    (recipe,) = small.recipes
    assert recipe.spec.budget == Budget("updates", 10)
    assert (recipe.spec.optimizer, recipe.spec.batch_size) == (OptimizerSpec(), 64)
    assert (recipe.spec.evaluations, recipe.says_evaluations) == (12, False)
    assert recipe.spec.clip_grad_norm is None


def test_seed_spread_is_the_study_s(load):
    text = MINIMAL + "seeds = { count = 10, step = 101 }\n"
    assert load(text).experiment("small").seeds == tuple(100 * i + i for i in range(10))


def test_swept_keys_multiply(load):
    text = MINIMAL + '[experiments.small.sweep]\n"model.hidden" = [8, 16]\n"optimizer.lr" = [0.1, 0.01, 1]\n'
    recipes = load(text).experiment("small").recipes
    assert len(recipes) == 6
    assert {r.spec.model.options["hidden"] for r in recipes} == {8, 16}
    assert {r.spec.optimizer.lr for r in recipes} == {0.1, 0.01, 1.0}


def test_an_architecture_can_be_swept(load):
    text = MINIMAL + "[experiments.small.sweep]\nmodel = ['mlp', { name = 'cnn3', width = 8 }]\n"
    assert [str(r.spec.model) for r in load(text).experiment("small").recipes] == ["mlp", "cnn3(width=8)"]


BAD = {
    "optimiser = 'sgd'": "experiments.small: unknown key 'optimiser'; did you mean 'optimizer'?",
    "batch_size = 0": "experiments.small.batch_size: expected a whole number of at least 1, got 0",
    "batch_size = true": "experiments.small.batch_size: expected a whole number of at least 1, got true",
    "optimizer = 'adam'": "experiments.small.optimizer.name: expected one of adamw, sgd, got 'adam'",
    "optimizer = { lr = '1e-3' }": "experiments.small.optimizer.lr: expected a number above 0, got '1e-3'",
    "optimizer = { lr = nan }": "experiments.small.optimizer.lr: expected a number above 0, got nan",
    "optimizer = { learning_rate = 1 }": "experiments.small.optimizer: unknown key 'learning_rate'",
    "optimizer = { momentum = 0.9 }": "small.optimizer.momentum: momentum belongs to name = sgd",
    "clip_grad_norm = 0": "experiments.small.clip_grad_norm: expected a number above 0, got 0",
    "fractions = [0.5]": "expected exactly one of sizes, fractions, per_class, got sizes, fractions",
    "seeds = 3": "experiments.small.seeds: expected a list of whole numbers of at least 0, or { count = 10, ",
    "seeds = []": "experiments.small.seeds: expected a list of whole numbers",
    "seeds = [1, 1]": "experiments.small.seeds: expected each seed once",
    "seeds = { count = 2, stride = 5 }": "experiments.small.seeds: unknown key 'stride'",
    "subset = { strategy = 'stratifed' }": "experiments.small.subset.strategy: expected one of stratified",
    "subset = { strategy = 'first', seeds = [0, 1] }": "every draw of strategy first is the same",
    "evaluate = { times = 0 }": "experiments.small.evaluate.times: expected a whole number of at least 1",
    "order = 'random'": "experiments.small.order: expected one of curve-first, by-size, by-seed",
    "[experiments.small.sweep]\n'seed' = [1]": "experiments.small.sweep: cannot sweep 'seed'",
    "[experiments.small.sweep]\nbatch_size = 3": "sweep.batch_size: expected a list of values, got 3",
    "[experiments.small.sweep]\nbatch_size = [1, 'x']": "experiments.small.batch_size: expected a whole",
    "[experiments.SMALL]": "'SMALL' and 'small' are one name",
    "[experiments.small]": "the table [experiments.small] is defined twice (at line",
    "x = [": "not valid TOML",
    "[experiments.'no space']": "'no space' is not a name; use up to 100 letters",
    "[experiments.'../up']": "'../up' is not a name",
    "[experiments.-dash]": "'-dash' is not a name",
    "[experiment.other]": "unknown key 'experiment'; did you mean 'experiments'?",
    "[paths]\ndata = 5": "paths.data: expected a string, got 5",
}


@pytest.mark.parametrize(("line", "message"), BAD.items(), ids=BAD)
def test_bad_input_is_one_line_with_file_key_and_expectation(load, line, message):
    with pytest.raises(ConfigError) as caught:
        load(MINIMAL + line + "\n")
    assert message in caught.value.line
    assert "experiments.toml" in caught.value.line
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model   = \"mlp\"", "", "experiments.small.model: expected a model, one of cnn3, mlp, "),
        ('"mlp"', '"vgg"', "experiments.small.model.name: expected one of cnn3, mlp, "),
        ('"mlp"', '{ name = "mlp", dropout = 2 }', "expected a number of at least 0 and at most 0.95, got 2"),
        ('"mlp"', '{ name = "mlp", hiden = 2 }', "unknown key 'hiden'; did you mean 'hidden'?"),
        ("[40, 80]", "[40, 40]", "experiments.small.sizes: 40 is listed twice"),
        ("[40, 80]", "[40, 0]", "expected whole numbers above 0, got 0"),
        ("[40, 80]", "[]", "experiments.small.sizes: expected a list of whole numbers above 0"),
        ("{ updates = 10 }", "{ updates = 10, epochs = 1 }", "expected exactly one of updates, samples, "),
        ("{ updates = 10 }", "{ update = 10 }", "unknown key 'update'; did you mean 'updates'?"),
        ("{ updates = 10 }", "{}", "expected exactly one of updates, samples, epochs, got none"),
        ("{ updates = 10 }", "{ updates = 1.5 }", "budget.updates: expected a whole number"),
        ("{ updates = 10 }", "10", "experiments.small.budget: expected a table, got 10"),
        ('"digits"', "3", "experiments.small.dataset: expected a string, got 3"),
    ],
)  # fmt: skip
def test_bad_values_of_required_keys(load, old, new, message):
    with pytest.raises(ConfigError) as caught:
        load(MINIMAL.replace(old, new))
    assert message in caught.value.line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_is_read_as_editors_save_it(tmp_path, encoding, line_end):
    file = tmp_path / "experiments.toml"
    named = MINIMAL + 'title = "h\u00e4ndisch"\n'
    file.write_bytes(named.replace("\n", line_end).encode(encoding))
    assert load_project(file, environment={}).experiment("small").title == "h\u00e4ndisch"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_one_line(tmp_path, encoding):
    file = tmp_path / "experiments.toml"
    file.write_bytes((MINIMAL + 'title = "h\u00e4ndisch"\n').strip().encode(encoding))
    with pytest.raises(ConfigError, match="not UTF-8 text; save it as UTF-8"):
        load_project(file, environment={})


def test_a_missing_or_unreadable_file_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_project(tmp_path / "experiments.toml")
    (tmp_path / "experiments.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_project(tmp_path / "experiments.toml")


def test_an_unknown_experiment_names_the_nearest(load):
    with pytest.raises(ConfigError, match="no experiment 'smal'; did you mean 'small'"):
        load(MINIMAL).experiment("smal")


def test_where_data_sets_lie(tmp_path):
    assert data_directory(tmp_path, {"DATASIZE_DATA": "/images"}) == Path("/images")
    (tmp_path / "experiments.toml").write_text('[paths]\ndata = "images"\n')
    assert data_directory(tmp_path, {}) == tmp_path / "images"
    assert data_directory(tmp_path, {"DATASIZE_DATA": "/images"}) == Path("/images")
    assert data_directory(tmp_path / "elsewhere", {}).name == "datasize-tui"


def test_the_shipped_experiments_are_valid():
    shipped = Path(__file__).parents[2] / "experiments.toml"
    assert {"digits", "mnist10k", "letters"} <= set(load_project(shipped, environment={}).experiments)
