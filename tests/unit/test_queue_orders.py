"""What a screen is told of an order to queue runs."""

from __future__ import annotations

import pytest

from tests.fakes import fake_spec
from tests.tui.fake_queue import FakeQueue
from tui_datasize.tui.orders import Enqueue, OrderDesk


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
