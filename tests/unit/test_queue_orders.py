"""What a screen is told of an order to queue runs."""

from __future__ import annotations

import pytest

from tests.fakes import fake_spec
from tests.tui.fake_queue import FakeQueue
from tui_datasize.tui.orders import Enqueue, OrderDesk, QueueTerms


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ("", ("queued 2 runs", False)),
        ("a: is just being cancelled; queue it again in a moment", None),
    ],
)
def test_runs_that_the_scheduler_refuses_to_queue_are_told(
    refusal: str, told: tuple[str, bool] | None
) -> None:
    queue = FakeQueue(refusal=refusal)
    desk = OrderDesk(queue, lambda _text, _is_error: None)
    order = Enqueue((fake_spec(seed=1), fake_spec(seed=2)), None)
    assert desk._execute(order) == (told or (f"{refusal} (and 1 more)", True))
    assert queue.started == 1


def test_terms_that_come_too_late_for_some_runs_are_told() -> None:
    desk = OrderDesk(FakeQueue(), lambda _text, _is_error: None)
    first, second = fake_spec(seed=1), fake_spec(seed=2)
    assert desk._execute(Enqueue((first,), None)) == ("queued 1 run", False)
    words = "queued 1 run, 1 was there already and keeps its terms and place"
    assert desk._execute(Enqueue((first, second), None, terms=QueueTerms(max_attempts=1))) == (words, False)
