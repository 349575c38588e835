"""Learning rates against closed forms and against torch's own schedulers."""

from __future__ import annotations

from math import cos, pi
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD
from torch.optim import lr_scheduler as oracle

from tui_datasize.experiments.schedule import ScheduleName, ScheduleSpec, learning_rate_factor

TOTAL = 200


def factors(schedule, total=TOTAL):
    return [learning_rate_factor(schedule, update, total) for update in range(total)]


def rates_of(make):
    """What a scheduler of torch's makes of a learning rate of 1, update by update."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for _ in range(TOTAL):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def warm_cosine(optimizer):
    """Twenty updates of linear warm-up from 1 %, then half a cosine down to 5 %."""
    warm = oracle.LinearLR(optimizer, start_factor=0.01, total_iters=20)
    fall = oracle.CosineAnnealingLR(optimizer, T_max=TOTAL - 20, eta_min=0.05)
    return oracle.SequentialLR(optimizer, [warm, fall], milestones=[20])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("schedule", "make"),
    [
        (ScheduleSpec(), lambda o: oracle.ConstantLR(o, factor=1.0)),
        (ScheduleSpec("step", "updates", step=7, gamma=0.98), lambda o: oracle.StepLR(o, 7, 0.98)),
        (ScheduleSpec("step", step=0.1, gamma=0.5), lambda o: oracle.StepLR(o, 20, 0.5)),
        (
            ScheduleSpec("multistep", milestones=(0.41, 0.61)),
            lambda o: oracle.MultiStepLR(o, [82, 122], 0.1),
        ),
        (ScheduleSpec("cosine"), lambda o: oracle.CosineAnnealingLR(o, TOTAL)),
        (ScheduleSpec("cosine", "updates", warmup=20, warmup_start=0.01, floor=0.05), warm_cosine),
        (ScheduleSpec("cosine", warmup=0.1, warmup_start=0.01, floor=0.05), warm_cosine),
    ],
    ids=["constant", "step", "step-fraction", "multistep", "cosine", "warm-updates", "warm-fraction"],
)
def test_factors_are_those_of_torchs_schedulers(schedule, make):
    assert factors(schedule) == pytest.approx(rates_of(make), abs=1e-9)


def test_cosine_with_warm_up_in_closed_form():
    schedule = ScheduleSpec("cosine", warmup=0.25, warmup_start=0.2, floor=0.1)
    found = factors(schedule, 100)
    assert found[:25] == pytest.approx([0.2 + 0.8 * u / 25 for u in range(25)])
    assert found[25:] == pytest.approx([0.1 + 0.9 * (1 + cos(pi * u / 75)) / 2 for u in range(75)])


@given(
    name=st.sampled_from(get_args(ScheduleName)),
    warmup=st.floats(0, 1),
    start=st.floats(0, 1),
    floor=st.floats(0, 1),
    total=st.integers(1, 400),
)
def test_factors_lie_between_nothing_and_all(name, warmup, start, floor, total):
    schedule = ScheduleSpec(name, step=0.1, milestones=(0.5,), warmup=warmup, warmup_start=start, floor=floor)
    assert all(0 <= factor <= 1 for factor in factors(schedule, total))


def test_fractions_are_equal_in_updates_whatever_the_size_of_the_subset():
    # 60 epochs of 1000 and 1200 epochs of 50 images in batches of 10: warm-up over a twelfth.
    schedule = ScheduleSpec("cosine", warmup=1 / 12)
    assert factors(schedule, 6000)[:501] == pytest.approx([*[u / 500 for u in range(500)], 1.0])
