"""The length of a run, and the eleven sizes of the main study."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_datasize.experiments.budget import epochs_at, evaluation_updates, missing_evaluations, total_updates
from tui_datasize.experiments.spec import Budget, ModelSpec, RunSpec

STUDY = {
    12000: 12, 6000: 24, 4000: 36, 3000: 48, 2400: 60, 2000: 72,
    1500: 96, 1200: 120, 1000: 144, 800: 180, 750: 192,
}  # fmt: skip


def spec(size: int, budget: Budget, batch_size: int = 72) -> RunSpec:
    return RunSpec("e", "digits", ModelSpec("mlp"), size, 0, budget, batch_size=batch_size)


@pytest.mark.parametrize(("size", "epochs"), STUDY.items())
def test_every_size_of_the_study_has_the_same_updates_and_its_published_epochs(size, epochs):
    run = spec(size, Budget("samples", 144_000))
    updates = total_updates(run)
    assert updates == 2000
    assert epochs_at(run, updates) == epochs
    marks = evaluation_updates(updates, 12)
    assert len(marks) == 12
    base_epochs = 12_000 / size
    assert [round(epochs_at(run, u) / base_epochs, 1) for u in marks] == [float(k) for k in range(1, 13)]


@pytest.mark.parametrize(
    ("budget", "updates"),
    [
        (Budget("updates", 7), 7),
        (Budget("samples", 145), 3),
        (Budget("samples", 144), 2),
        (Budget("epochs", 1), 14),
        (Budget("epochs", 0.001), 1),
        (Budget("epochs", 1.5), 21),
    ],
)
def test_units_of_a_budget(budget, updates):
    assert total_updates(spec(1000, budget)) == updates


@given(st.integers(1, 10_000), st.integers(1, 50))
def test_evaluations_are_spread_evenly_and_end_at_the_end(updates, times):
    marks = evaluation_updates(updates, times)
    assert marks[-1] == updates
    assert len(marks) == min(updates, times)
    gaps = [b - a for a, b in zip((0, *marks), marks, strict=False)]
    assert min(gaps) >= 1
    assert max(gaps) <= ceil(updates / times)


@given(st.integers(1, 10_000), st.integers(1, 50), st.data())
def test_what_a_run_lacks_is_what_it_was_to_evaluate_and_has_not(updates, times, data):
    marks = evaluation_updates(updates, times)
    made = data.draw(st.lists(st.sampled_from(marks)))
    others = set(data.draw(st.lists(st.integers(-5, updates + 5)))) - {*marks}
    assert missing_evaluations(updates, times, [*made, *others]) == len({*marks} - {*made})


def test_counting_what_a_run_lacks_takes_no_longer_for_huge_numbers():
    assert missing_evaluations(2**53, 2**62, (1, 2**53, 2**53 + 1)) == 2**53 - 2
    assert missing_evaluations(5, -(2**62), (1,)) == 0
