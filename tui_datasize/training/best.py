"""The evaluation with the highest test accuracy so far, and the weights that it measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from tui_datasize.runlog.paths import RunPaths
from tui_datasize.training import checkpoint
from tui_datasize.training.results import Result


@dataclass(frozen=True, slots=True)
class Best:
    """The best evaluation of a run; the earliest of equals."""

    result: Result
    weights: Mapping[str, Tensor] | None
    """Parameters and running statistics by their names in the model, on the CPU. None once they stand
    in a file of their own, and where the run resumed from a checkpoint made before they were kept."""

    @classmethod
    def of(cls, result: Result, measured: nn.Module, earlier: Best | None) -> Best:
        """The better one of an evaluation just made and an earlier one.

        Args:
            result: Of the evaluation.
            measured: The model that it measured, whose weights are copied where it is the better one.
            earlier: The best before.
        """
        if earlier is not None and result.test_accuracy <= earlier.result.test_accuracy:
            return earlier
        # A copy in any case: further updates change the model's own.
        weights = {name: value.to("cpu", copy=True) for name, value in measured.state_dict().items()}
        return cls(result, weights)

    def write_weights(self, paths: RunPaths, identity: Mapping[str, str]) -> Best:
        """Write `best.pt`, where the weights are known; the same without them.

        Args:
            paths: Files of the run.
            identity: As in its checkpoint.

        Raises:
            OSError: The disk is full or read-only.
        """
        if self.weights is None:
            return self
        state = {
            "update": self.result.update,
            "test_accuracy": self.result.test_accuracy,
            "model": self.weights,
        }
        checkpoint.save(paths.best, identity, state)
        return replace(self, weights=None)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {**self.result.state_dict(), "weights": self.weights}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Best:
        """What `state_dict` was taken of."""
        return cls(Result.from_state(state), state.get("weights"))
