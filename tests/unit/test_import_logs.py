"""Logs of trainers in JSON: of each form what its keys mean, and what is refused."""

from __future__ import annotations

import json

import pytest

from tests.unit.import_desk import Desk
from tui_datasize.runlog.reader import RunLog


@pytest.fixture
def desk(project) -> Desk:
    return Desk(project)


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def values(desk: Desk, *metrics: str) -> list[tuple]:
    return [tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in desk.rows(*metrics)]


def hugging_face(accuracy: float, epochs: int = 2) -> str:
    history: list[dict] = []
    for epoch in range(1, epochs + 1):
        history.append({"epoch": epoch, "loss": 0.8 / epoch, "step": 100 * epoch})
        history.append(
            {"epoch": epoch, "eval_accuracy": accuracy - 0.1 * (epochs - epoch), "step": 100 * epoch}
        )
    history.append({"epoch": epochs, "step": 100 * epochs, "train_loss": 0.6, "train_runtime": 9.0})
    return json.dumps({"global_step": 100 * epochs, "log_history": history}, indent=2)


def test_hugging_face_counts_the_last_loss_not_the_mean_and_the_newest_checkpoint(desk):
    desk.file("hf/n500_s1/trainer_state.json", hugging_face(0.8))
    desk.file("hf/n500_s1/checkpoint-100/trainer_state.json", hugging_face(0.3, 1))
    desk.file("hf/n500_s2/checkpoint-90/trainer_state.json", hugging_face(0.2, 1))
    desk.file("hf/n500_s2/checkpoint-100/trainer_state.json", hugging_face(0.9))
    assert desk.bring(desk.project.root / "hf") == 0
    assert values(desk, "test_accuracy", "train_loss", "updates") == [
        (500, 1, 0.8, 0.4, 200),
        (500, 2, 0.9, 0.4, 200),
    ]


@pytest.mark.parametrize("wrap", [lambda history: history, lambda history: {"history": history}])
def test_a_history_of_keras_has_a_value_per_epoch(desk, wrap):
    history = {"loss": [1.0, 0.5], "accuracy": [0.6, 0.8], "val_accuracy": [0.5, 0.7]}
    assert desk.bring(desk.file("n500_s1_history.json", json.dumps(wrap(history)))) == 0
    assert values(desk, "test_accuracy", "train_accuracy", "train_loss") == [(500, 1, 0.7, 0.8, 0.5)]
    (epochs,) = RunLog(desk.project).metrics().filter(split="test").select("epoch").get_columns()
    assert epochs.to_list() == [1, 2]


def test_mmcv_counts_epochs_since_its_iterations_begin_again(desk):
    train = [
        {"mode": "train", "epoch": epoch, "iter": step, "loss": 1 / epoch - step / 1000}
        for epoch in (1, 2)
        for step in (50, 100)
    ]
    tested = [
        {"mode": "val", "epoch": epoch, "iter": 40, "accuracy_top-1": value}
        for epoch, value in ((1, 55.5), (2, 66.5))
    ]
    text = lines({"env_info": "a machine", "seed": None}, *train[:2], tested[0], *train[2:], tested[1])
    assert desk.bring(desk.file("n500_s1/20260101.log.json", text)) == 0
    assert values(desk, "test_accuracy", "train_loss") == [(500, 1, 0.665, 0.4)]


@pytest.mark.parametrize(("steps", "of_test"), [((1, 2), (1.0, 2.0)), ((100, 200), (None, None))])
def test_the_step_of_a_validation_of_mmengine_is_an_epoch_or_an_iteration(desk, steps, of_test):
    records = []
    for epoch, step in enumerate(steps, 1):
        records += [
            {"loss": 1 / epoch, "epoch": epoch, "iter": 100 * epoch, "step": 100 * epoch},
            {"accuracy/top1": 50.0 + 10 * epoch, "data_time": 0.1, "step": step},
        ]
    desk.file("n500_s1/vis_data/scalars.json", lines(*records))
    assert desk.bring(desk.project.root / "n500_s1") == 0
    assert values(desk, "test_accuracy", "train_loss") == [(500, 1, 0.7, 0.5)]
    rows = RunLog(desk.project).metrics().filter(split="test")
    assert tuple(rows["epoch"]) == of_test
    assert rows["update"].to_list() == ([1, 2] if of_test[0] else [100, 200])


def test_ray_tells_size_and_seed_in_its_config_and_how_a_trial_ended(desk):
    def trial(seed: int, *, ends: bool) -> str:
        config = {"train_size": 500, "seed": seed, "layers": [64, 10]}
        told = [
            {
                "training_iteration": i,
                "test_accuracy": 0.5 + 0.1 * i,
                "done": ends and i == 3,
                "config": config,
            }
            for i in (1, 2, 3)
        ]
        return lines(*told)

    desk.file("ray/trial_a/result.json", trial(1, ends=True))
    desk.file("ray/trial_b/result.json", trial(2, ends=False))
    assert desk.bring(desk.project.root / "ray") == 0
    assert values(desk, "test_accuracy", "updates") == [(500, 1, 0.8, 3)]


def test_detectron2_counts_iterations_and_a_resumed_log_goes_on_from_where_it_was(desk):
    told = [{"iteration": 19 + 20 * i, "total_loss": 1.0, "test/accuracy": 0.5 + 0.1 * i} for i in range(3)]
    assert desk.bring(desk.file("n500_s1/metrics.json", lines(*told))) == 0
    assert values(desk, "test_accuracy", "updates") == [(500, 1, 0.7, 59)]
    again = [{"step": step, "test_accuracy": value} for step, value in ((1, 0.1), (2, 0.2), (2, 0.3))]
    assert desk.bring(desk.file("n900_s1.jsonl", lines(*again)), experiment="resumed") == 0
    assert (900, 1, 0.3) in values(desk, "test_accuracy")


def test_a_list_of_records_is_a_table_of_runs(desk):
    runs = [{"n": n, "seed": s, "test": {"accuracy": n / 1000 + s / 100}} for n in (500, 900) for s in (1, 2)]
    assert desk.bring(desk.file("all.json", json.dumps(runs))) == 0
    assert values(desk, "test_accuracy") == [
        (r["n"], r["seed"], round(r["test"]["accuracy"], 6)) for r in runs
    ]


GOOD = lines(*({"step": step, "test_accuracy": step / 10} for step in (1, 2, 3)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (hugging_face(0.8)[:-20], "cut off"),
        (GOOD.replace('"step": 2', '"step" 2'), "line 2: no JSON record"),
        ("[1, 2]", "does not hold records"),
        ('{"note": "nothing"}', "no column of a metric among note; name one"),
        ('{"a": [1], "b": {}}', "there is no record of numbers"),
        ('{"step": 1, "test_accuracy": "high"}\n', "test_accuracy is 'high', not a number"),
        ("{not json}", "no JSON"),
        ("[" * 100_000 + "]" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_log_is_refused_in_a_line(desk, text, says, capsys):
    before = desk.tree()
    assert desk.bring(desk.file("n500_s1.json", text)) == 2
    assert says in capsys.readouterr().err
    assert desk.tree() == before


def test_a_last_line_that_was_cut_off_is_left_out_and_told(desk, capsys):
    file = desk.file("n500_s1.jsonl", GOOD + '{"step": 4, "test_acc')
    assert desk.bring(file, "--strict", experiment="strict") == 2
    capsys.readouterr()
    assert desk.bring(file) == 0
    assert "line 4, the last, was cut off: left out" in capsys.readouterr().err
    assert values(desk, "test_accuracy") == [(500, 1, 0.3)]
