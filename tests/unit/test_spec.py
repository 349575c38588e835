"""The identity of a run: stable for ever, and different whenever a number of the run differs."""

from dataclasses import replace

import pytest

from tui_datasize.experiments.spec import Budget, ModelSpec, OptimizerSpec, RunSpec, SubsetSpec

SPEC = RunSpec(
    experiment="letters",
    dataset="emnist-letters",
    model=ModelSpec("cnn3"),
    train_size=750,
    seed=101,
    budget=Budget("samples", 144_000),
    batch_size=72,
    optimizer=OptimizerSpec("adamw", 4e-4, 0.4),
    clip_grad_norm=1.0,
)


def test_run_id_names_the_cell_and_never_changes():
    assert SPEC.run_id == "letters-n750-d0-s101-2cadad75"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 102},
        {"train_size": 800},
        {"subset": SubsetSpec(seed=1)},
        {"subset": SubsetSpec(nested=False)},
        {"model": ModelSpec("cnn3", {"dropout": 0.4})},
        {"budget": Budget("epochs", 144_000)},
        {"optimizer": OptimizerSpec("sgd", 4e-4, 0.4)},
        {"clip_grad_norm": None},
        {"evaluations": 13},
        {"batch_size": 64},
        {"dataset": "mnist"},
    ],
)
def test_any_changed_value_changes_the_id(change):
    assert replace(SPEC, **change).run_id != SPEC.run_id


def test_one_and_one_point_zero_are_one_learning_rate():
    one = replace(SPEC, optimizer=OptimizerSpec("sgd", 1, 0))
    same = replace(SPEC, optimizer=OptimizerSpec("sgd", 1.0, 0.0))
    assert one.run_id == same.run_id


def test_a_default_written_out_is_the_same_run():
    assert replace(SPEC, subset=SubsetSpec("stratified", True, 0), evaluations=12).run_id == SPEC.run_id


def test_dictionary_and_back():
    spec = replace(SPEC, model=ModelSpec("cnn3", {"dropout": 0.25, "width": 16}), subset=SubsetSpec("random"))
    assert RunSpec.from_dict(spec.to_dict()) == spec
    assert RunSpec.from_dict(spec.to_dict()).run_id == spec.run_id


def test_a_field_that_an_older_version_did_not_write_takes_its_default():
    old = SPEC.to_dict()
    del old["clip_grad_norm"], old["evaluations"], old["subset"]
    assert RunSpec.from_dict(old) == replace(SPEC, clip_grad_norm=None)
