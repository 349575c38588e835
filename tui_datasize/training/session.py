"""One run in training: updates, evaluations at their times, the record and the checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tui_datasize.errors import RunFailedError
from tui_datasize.experiments.budget import epochs_at, evaluation_updates, samples_at, total_updates
from tui_datasize.experiments.spec import Budget, RunSpec
from tui_datasize.runlog.paths import RunPaths
from tui_datasize.runlog.schema import Event
from tui_datasize.runlog.writer import MetricsWriter, Value
from tui_datasize.text import plural
from tui_datasize.training import checkpoint, provenance
from tui_datasize.training.accelerator.device import (
    accelerator_of,
    evaluation_batch_size,
    memory_now,
    peak_memory,
)
from tui_datasize.training.accelerator.interface import Capture
from tui_datasize.training.arrays import LoadedDataset
from tui_datasize.training.engine import Beside, Readings, Trainer
from tui_datasize.training.evaluate import (
    ALL_CLASSES_UP_TO,
    Evaluation,
    Integers,
    Outputs,
    Tally,
    predict,
    predictions,
    score,
)
from tui_datasize.training.graph import Replays
from tui_datasize.training.placement import HasRoom, ImageBatches, has_room, place_images
from tui_datasize.training.pretext import Exam, scores_of
from tui_datasize.training.results import Best, Result, write_results
from tui_datasize.training.stop import StopRequest, StopRequested
from tui_datasize.training.streams import last_batch
from tui_datasize.training.transfer import SourceWeights

_NONE_BESIDE = Beside()
_NO_BEST: Best | None = None
_NONE: Integers = np.empty(0, dtype=np.int64)
_READING_INTERVAL_S = 1.0
_CHECKPOINT_INTERVAL_S = 9.0
"""The least, and with the interval between readings at most ten seconds of work lost."""
_CHECKPOINT_SHARE = 0.02
"""Of the time, at most, that goes into checkpoints."""


@dataclass(frozen=True, slots=True)
class _Done:
    """How far a run has come."""

    updates: int
    samples: int
    epochs: float


class Session:
    """Trains one run to its end or until asked to leave, and keeps its directory up to date.

    Continues from the run's checkpoint where there is one that fits. `run` does all of it; whoever
    makes the updates of several runs together enters the session and takes it in parts, as `run` does.

    `subset` holds the indices of the images with labels, shape (n,), in draw order, `held_out` those of
    them that are not trained on but chosen by; `further` test sets are measured by their names, images
    `beside` are learned from, too. `tell` receives a line at each evaluation. Without `capture`, forward
    passes of evaluations are made as they are.
    `chosen` tells of images that are not all in the digest of the data set, or that a model has chosen: with
    others it does not continue.

    Raises DataError: the images do not suit the model.
    Raises RunFailedError: from its methods: the loss became NaN or infinite.
    Raises OSError: from all: the directory cannot be written.
    Raises StopRequested: from `run` and `prepare_update`: asked to leave. After `run` the checkpoint holds
        all.
    """

    def __init__(
        self,
        paths: RunPaths,
        spec: RunSpec,
        dataset: LoadedDataset,
        subset: Integers,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
        source: SourceWeights | None = None,
        test: ImageBatches | None = None,
        tell: Callable[[str], object] = lambda _words: None,
        room: HasRoom = has_room,
        capture: Capture | None = None,
        held_out: Integers = _NONE,
        further: Mapping[str, ImageBatches] = MappingProxyType({}),
        chosen: Mapping[str, str] = MappingProxyType({}),
        beside: Beside = _NONE_BESIDE,
    ) -> None:
        self.spec, self.dataset, self.device, self._further = spec, dataset, device, further
        self._subset, self._capture, self._room = subset, capture, room
        self._make_trainer = partial(Trainer, source=source, room=room, beside=beside)
        self.trainer = self._make_trainer(spec, dataset, subset[~np.isin(subset, held_out)], device)
        self._validation = place_images(dataset.train, held_out, device, room) if len(held_out) else None
        # What the first training did, once the second has begun, on all images.
        self._first: _Done | None = None
        self._test = place_images(dataset.test, slice(None), device, room) if test is None else test
        self._evaluation_batch = evaluation_batch_size(device, math.prod(dataset.image_shape))
        self._forward, kind = self._recorded_evaluations(), accelerator_of(device).kind
        self._identity = {"run": spec.run_id, "data": dataset.fingerprint, "device": kind, **chosen}
        self._paths, self._trained_spec, self._updates = paths, spec, total_updates(spec)
        self._due, self._best = frozenset(evaluation_updates(self._updates, spec.evaluations)), _NO_BEST
        self._evaluated = self._earlier_replays = 0
        self._earlier_wall_s, self._saving_s = beside.made_s, 0.0
        self.has_resumed = self._restore()
        """Whether it continues from a checkpoint."""
        self.sharers, self._clock, self._tell = 1, clock, tell
        """Runs that take turns in this process: each waits while another writes its checkpoint."""
        # Begins when it is entered: until then, other runs of a pack are made ready.
        self._started_s = self._read_s = self._saved_s = math.nan
        self._metrics = MetricsWriter(paths.metrics)

    def run(self, stop: StopRequest) -> None:
        """Make all updates and evaluations that are still to be made."""
        with self:
            try:
                while self.prepare_update(stop):
                    self.trainer.step()
                    self.after_update()
            except StopRequested:
                self.leave()
                raise

    def __enter__(self) -> Session:
        """Go on with the record: void the rows of updates that will be made again."""
        # An evaluation left half-way will write its rows again.
        self._metrics.resume(self._update - self._evaluation_is_due())
        self._started_s = self._read_s = self._saved_s = self._clock()
        return self

    def __exit__(self, *_: object) -> None:
        self._metrics.close()

    def prepare_update(self, stop: StopRequest) -> bool:
        """Evaluate where that is due; whether another update is to be made."""
        if self._evaluation_is_due():
            self._evaluate(stop)
        if self._update == self._updates:
            return False
        stop.check()
        return True

    def after_update(self) -> None:
        """Write a row and a checkpoint where they are due."""
        if self._clock() - self._read_s >= _READING_INTERVAL_S:
            self._take_readings()
            self._save_if_due()

    def leave(self) -> None:
        """Save everything so far, between two updates."""
        self._take_readings()
        self._save()

    def _evaluation_is_due(self) -> bool:
        return self._update in self._due and self._evaluated < self._update

    @property
    def _update(self) -> int:
        """Updates made, those of a first training included."""
        return self._done().updates

    def _done(self, update: int | None = None) -> _Done:
        """What was done in all by an update of the present training, by default the last one."""
        update = self.trainer.update if update is None else update
        spec, first = self._trained_spec, self._first or _Done(0, 0, 0.0)
        done = _Done(update, samples_at(spec, update), epochs_at(spec, update))
        return _Done(*(before + now for before, now in zip(astuple(first), astuple(done), strict=True)))

    def _take_readings(self) -> None:
        """Write the row of the updates since the last one, and see whether the loss still is a number."""
        readings = self.trainer.read()
        count = len(readings.losses)
        if not count:
            return
        now, done = self._clock(), self._done()
        images = done.samples - self._done(self.trainer.update - count).samples
        self._write(
            "train",
            "train",
            loss=float(np.mean(readings.losses)),
            lr=self.trainer.learning_rate,
            grad_norm=float(np.mean(readings.gradient_norms)),
            **self._accepted(readings, images),
            images_per_s=_rate(images, now - self._read_s),
            memory_bytes=memory_now(self.device),
        )
        self._read_s = now
        bad = next((place for place, loss in enumerate(readings.losses) if not math.isfinite(loss)), None)
        if bad is not None:
            raise self._diverged(done.updates - count + bad + 1, readings.losses[bad])

    def _accepted(self, readings: Readings, images: int) -> dict[str, float | None]:
        """Of the images without labels that went with so many with one, how many had a target, and which."""
        if not readings.accepted:
            return {}
        accepted, right = sum(readings.accepted), sum(readings.right)
        knows_labels = not self.spec.unlabelled.source
        return {
            "pseudo_accepted": accepted / (images * self.spec.unlabelled.ratio),
            "pseudo_accuracy": right / accepted if accepted and knows_labels else None,
        }

    def _evaluate(self, stop: StopRequest) -> None:
        """Measure all splits, write their rows and keep the best; at the end write the tables and save."""
        self._take_readings()
        measure = self._measure if self.spec.task.has_labels else self._measure_views
        last, rank, told = measure(stop)
        self._best = Best.of(last, rank, self.trainer.evaluated_model, None if self._first else self._best)
        self._evaluated = self._update
        self._tell(f"update {self._update:,} of {self._updates:,}: {told}")
        self._go_on(last)
        self._read_s = self._clock()

    def _measure(self, stop: StopRequest) -> tuple[Result, tuple[float, ...], str]:
        """Measure all splits and write their rows; the result, its rank among others, and words on it."""
        train, train_rate = self._measure_train(stop)
        validation = self._measure_validation(stop)
        tested = self._tested()
        measured = (
            self._test if tested is None else place_images(self.dataset.test, tested, self.device, self._room)
        )
        test, test_rate = self._pass(measured, stop)
        further = {name: self._pass(split, stop)[0] for name, split in self._further.items()}
        # All rows only now: a pass may be left half-way, and is then made again.
        on_train, on_test = (score(outputs, self.spec.protocol.f1) for outputs in (train, test))
        self._write("evaluation", "train", images_per_s=train_rate, **on_train.scores)
        if validation:
            self._write("evaluation", "validation", **validation.scores)
        self._write("evaluation", "test", images_per_s=test_rate, **on_test.scores)
        for name, outputs in further.items():
            self._write("evaluation", name, **score(outputs, self.spec.protocol.f1).scores)
        last = Result(self._update, on_train.confusion, on_test.confusion, tested, predictions(test))
        # What was trained anew on all images is what the best was chosen for.
        rank = () if self._first else validation.rank if validation else (last.test_accuracy,)
        told = f"test loss {on_test.scores['loss']:.4f}, test accuracy {on_test.scores['accuracy']:.2%}"
        if validation:
            told = f"validation accuracy {validation.scores['accuracy']:.2%}, {told}"
        return last, rank, told

    def _measure_views(self, stop: StopRequest) -> tuple[Result, tuple[float, ...], str]:
        """As `_measure` of a run without labels: by the images held out alone."""
        trainer, task = self.trainer, self.spec.task
        assert self._validation is not None
        exam = Exam.of(
            self.spec,
            trainer.evaluated_model,
            self._validation,
            trainer.view,
            trainer.pipeline_of,
            trainer.autocast,
        )
        outputs = predict(
            exam.model,
            exam.images,
            lambda inputs: inputs,
            Tally(exam.outputs),
            batch_size=self._evaluation_batch,
            autocast=exam.autocast,
            check=stop.check,
            replays=self._forward,
        )
        found = score(self._checked(outputs))
        self._write("evaluation", "validation", **scores_of(task, found.scores))
        told = f"validation loss {found.scores['loss']:.4f}, {task.name} accuracy {found.rank[0]:.2%}"
        return Result.untested(self._update), found.rank, told

    def _go_on(self, last: Result) -> None:
        """After an evaluation: end, begin the second training, or save where that is due."""
        assert self._best is not None
        patience = self.spec.stop.patience
        if patience and not self._first and self._best.since >= patience and self._update < self._updates:
            self._updates = self._update
            waited = plural(patience, "evaluation")
            self._tell(f"{waited} without a better one on the validation images: ends here")
        if self._update < self._updates:
            self._save_if_due()
        elif self.spec.refit and not self._first:
            self._earlier_replays += self.trainer.replayed
            updates = self._best.result.update
            self._begin_again(self._done(), self._update + updates)
            images = plural(len(self._subset), "image")
            self._tell(f"trains anew on all {images} for {plural(updates, 'update')}")
            provenance.add(self._paths, self.lengths())
            self._save()
        else:
            # Before the last checkpoint, so that a run resumed from it has nothing left to do.
            if self.spec.task.has_labels:
                write_results(self._paths, self.dataset, last, self._best.result)
            self._best = self._best.write_weights(self._paths, self._identity)
            facts = {
                **peak_memory(self.device),
                "updates_replayed": self._earlier_replays + self.trainer.replayed,
                **self.lengths(),
            }
            provenance.add(self._paths, facts)
            self._save()

    def _begin_again(self, first: _Done, updates: int) -> None:
        """Train anew on all images with labels, up to so many updates in all, by the first's schedule."""
        self._first, self._updates = first, updates
        self._due = frozenset({self._updates})
        length = Budget("updates", total_updates(self.spec))
        self._trained_spec = replace(self.spec, validation=0.0, budget=length)
        # The images of one training at a time.
        del self.trainer
        self.trainer = self._make_trainer(self._trained_spec, self.dataset, self._subset, self.device)
        self._forward = self._recorded_evaluations()

    def lengths(self) -> dict[str, int]:
        """Where a run ended otherwise than its budget says, for its provenance; updates."""
        if self._first:
            return {"ended_update": self._first.updates, "refit_update": self._updates}
        return {"ended_update": self._updates} if self._updates < total_updates(self.spec) else {}

    def _recorded_evaluations(self) -> Replays[Tensor] | None:
        return Replays[Tensor](self._capture, "evaluations") if self._capture else None

    def _measure_train(self, stop: StopRequest) -> tuple[Outputs, float | None]:
        """Outputs for the subset, or as published what the last update itself saw; images per second."""
        seen = self.trainer.last_batch
        if seen is None:
            return self._pass(self.trainer.measured, stop)
        tally = self._tally()
        tally.add(seen.logits, seen.labels)
        return self._checked(tally.outputs()), None

    def _measure_validation(self, stop: StopRequest) -> Evaluation | None:
        if self._validation is None or self._first:
            return None
        outputs, _ = self._pass(self._validation, stop)
        return score(outputs, self.spec.protocol.f1)

    def _tested(self) -> Integers | None:
        """Which test images this evaluation measures; None for all."""
        if self.spec.protocol.measured == "full":
            return None
        return last_batch(len(self.dataset.test.labels), self.spec.batch_size, self.spec.seed, self._update)

    def _tally(self) -> Tally:
        classes = len(self.dataset.class_names)
        return Tally(classes, keep_all=classes <= ALL_CLASSES_UP_TO)

    def _pass(self, split: ImageBatches, stop: StopRequest) -> tuple[Outputs, float | None]:
        started_s = self._clock()
        outputs = predict(
            self.trainer.evaluated_model,
            split,
            self.trainer.view,
            self._tally(),
            batch_size=self._evaluation_batch,
            autocast=self.trainer.autocast,
            check=stop.check,
            replays=self._forward,
        )
        return self._checked(outputs), _rate(len(outputs.labels), self._clock() - started_s)

    def _checked(self, outputs: Outputs) -> Outputs:
        if not outputs.is_finite:
            raise self._diverged(self._update, float(outputs.losses.max()))
        return outputs

    def _write(self, event: Event, split: str, **values: Value) -> None:
        done = self._done()
        self._metrics.write(
            event,
            done.updates,
            epoch=done.epochs,
            samples_seen=done.samples,
            split=split,
            wall_s=self._wall_s(),
            **values,
        )

    def _wall_s(self) -> float:
        return self._earlier_wall_s + self._clock() - self._started_s

    def _diverged(self, update: int, loss: float) -> RunFailedError:
        what = "NaN" if math.isnan(loss) else "infinite"
        return RunFailedError(
            f"loss became {what} at update {update} (lr {self.trainer.learning_rate:g})",
            fix="use a smaller lr or clip_grad_norm",
        )

    def _save_if_due(self) -> None:
        """Save in its time, the first when it is worth what a part of it takes.

        A long evaluation is no reason to save before it: a kill costs all of it and an interval at most.
        """
        if self._is_due() and not self._saving_s:
            self._saving_s = checkpoint.expected_s(self._paths.checkpoint, self._state(), self._clock)
            self._read_s = self._clock()
        if self._is_due():
            self._save()

    def _is_due(self) -> bool:
        return self._clock() - self._saved_s >= save_interval_s(self._saving_s * self.sharers)

    def _state(self) -> dict[str, Any]:
        return {
            "trainer": self.trainer.state_dict(),
            "evaluated": self._evaluated,
            "updates": self._updates,
            "first": astuple(self._first) if self._first else None,
            "best": self._best.state_dict() if self._best else None,
            "wall_s": self._wall_s(),
            "replays": self._earlier_replays + self.trainer.replayed,
        }

    def _save(self) -> None:
        begun_s = self._clock()
        # A run resumed from the checkpoint does not write again what it says is written.
        self._metrics.sync()
        checkpoint.save(self._paths.checkpoint, self._identity, self._state())
        self._read_s = self._saved_s = self._clock()
        self._saving_s = self._saved_s - begun_s

    def _restore(self) -> bool:
        try:
            state = checkpoint.load(self._paths.checkpoint, self._identity)
        except checkpoint.CheckpointUnfit as unfit:
            print(f"starting over, the checkpoint does not fit: {unfit}", flush=True)
            return False
        if state is None:
            return False
        self._best = Best.from_state(state["best"]) if state["best"] else None
        # Both are missing in checkpoints made before runs could end otherwise than by their budget.
        self._updates = state.get("updates", self._updates)
        if first := state.get("first"):
            self._begin_again(_Done(*first), self._updates)
        self.trainer.load_state_dict(state["trainer"])
        self._evaluated = state["evaluated"]
        self._earlier_wall_s = state["wall_s"]
        # Checkpoints made before they were counted tell of none.
        self._earlier_replays = state.get("replays", 0)
        print(f"resuming at update {self._update} of {self._updates}", flush=True)
        return True


def save_interval_s(cost_s: float) -> float:
    """Seconds from one checkpoint to the next, where all that share the process take so long to write theirs.

    >>> save_interval_s(0.05), save_interval_s(2.0)
    (9.0, 100.0)
    """
    return max(_CHECKPOINT_INTERVAL_S, cost_s / _CHECKPOINT_SHARE)


def _rate(images: int, elapsed_s: float) -> float | None:
    return images / elapsed_s if elapsed_s > 0 else None
