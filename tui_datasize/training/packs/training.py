"""Training the runs of a worker together, and what is done where memory runs out."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tui_datasize.errors import RunFailedError
from tui_datasize.experiments.packing import pack_key
from tui_datasize.runlog.claim import LEFT, LEFT_WITH_PACK, read_exit
from tui_datasize.training import failures, provenance
from tui_datasize.training.accelerator import faults
from tui_datasize.training.accelerator.device import chosen
from tui_datasize.training.engine import Trainer
from tui_datasize.training.lane import Lane
from tui_datasize.training.packs.calibration import choose
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS, Together
from tui_datasize.training.placement import HasRoom, NotedRoom, has_room, nowhere
from tui_datasize.training.prepare import Shared, prepare
from tui_datasize.training.session import Session
from tui_datasize.training.stop import StopRequest, StopRequested

_IN_ORDER = (LEFT, LEFT_WITH_PACK)


@dataclass(frozen=True, slots=True)
class PackMember:
    """A run of a pack, ready to train."""

    lane: Lane
    session: Session
    width_left: int
    """Of the fused pack that it left in order in its last attempt; 1 where it left none."""


def train_lanes(lanes: Sequence[Lane], stop: StopRequest) -> None:
    """Train runs that fit into one pack until each has ended.

    Where memory runs out, they go on from their checkpoints with images that stay in their file; where
    it does again, half of them is trained first, then the other half, down to runs alone.

    Runs that left a fused pack in order go on at the width it had, with lanes beside them that compute and
    learn nothing: their bits stay those of a pack that was not disturbed.

    Lanes are open at first and have ended on return. A request to leave is asked for between updates, and
    at once while runs are made ready.

    Raises StopRequested: asked to leave; checkpoints hold everything so far, lanes are left open.
    Raises Exception: what all lanes share failed; lanes are left open.
    """
    waiting = [list(lanes)]
    room: HasRoom = has_room
    is_widened = True
    while waiting:
        group, noted = waiting.pop(0), NotedRoom(room)
        if not _fits(group, stop, noted, is_widened=is_widened):
            is_widened = False
            unfinished = [lane for lane in group if lane.is_open]
            middle = len(unfinished) if noted.was_given else (len(unfinished) + 1) // 2
            waiting[:0] = [part for part in (unfinished[:middle], unfinished[middle:]) if part]
            room = nowhere if noted.was_given else room
        if waiting:
            chosen().release_memory()
            # Where the end of a run could not be written, which others of its pack outlast.
            for lane in lanes:
                lane.write_end_if_due()


def _fits(group: Sequence[Lane], stop: StopRequest, room: NotedRoom, *, is_widened: bool) -> bool:
    """Train runs together; False where that takes more memory than there is, and less can be taken."""
    try:
        with faults.while_computing():
            _train(group, stop, room, is_widened=is_widened)
    except Exception as error:
        if not failures.is_out_of_memory(error):
            raise
        if len(group) > 1 or room.was_given:
            where = f"in a pack of {len(group)}" if len(group) > 1 else "alone"
            how = "with the images left in their file" if room.was_given else "in a smaller one"
            for lane in group:
                if lane.is_open:
                    lane.say(f"out of memory {where}, going on {how}")
            return False
        group[0].fail(error)
    return True


def _train(group: Sequence[Lane], stop: StopRequest, room: HasRoom, *, is_widened: bool) -> None:
    with stop.at_once():
        members = _make_ready(group, room)
        width = max([len(members), *(member.width_left for member in members if is_widened)])
        together = _put_together(members, width) if members and width > 1 else None
    if together:
        _train_together(members, together, stop)
    elif members:
        member = members[0]
        with _concerning(member.lane):
            provenance.add_pack(member.lane.paths, 1, "alone")
            member.session.run(stop)
            member.lane.succeed()


def _make_ready(group: Sequence[Lane], room: HasRoom) -> list[PackMember]:
    shared = Shared(room)
    members = []
    for lane in group:
        with _concerning(lane), lane.telling():
            session = prepare(lane.paths, lane.claim.attempt, shared, lane.say)
            members.append(PackMember(lane, session, _width_left(lane)))
    return members


def _width_left(lane: Lane) -> int:
    ended = read_exit(lane.paths)
    width, implementation = (of[-1] for of in provenance.pack_history(lane.paths).values())
    has_left = ended is not None and ended.attempt == lane.claim.attempt - 1 and ended.reason in _IN_ORDER
    return int(width) if has_left and implementation == "fused" else 1


def _put_together(members: Sequence[PackMember], width: int) -> Together:
    """Compute runs as lanes of so many, of which those beyond the runs are idle."""
    sessions = [member.session for member in members]
    first, idle = sessions[0], width - len(sessions)
    keys = {pack_key(session.spec) for session in sessions}
    if len(keys) > 1 or "" in keys:
        raise RunFailedError(
            "these runs cannot be trained together: they differ in more than lanes of a pack may",
            fix="start them without --pack",
        )
    chosen = choose(first.spec, first.dataset, first.device, width)
    for member in members:
        beside = f", {idle} of them ended before" if idle else ""
        member.lane.say(f"one of {width} runs trained together, {chosen}{beside}")
        with _concerning(member.lane):
            provenance.add_pack(member.lane.paths, width, chosen)
    trainers = [session.trainer for session in sessions]
    return IMPLEMENTATIONS[chosen]([*trainers, *(_idle(trainers[0]) for _ in range(idle))])


def _idle(trainer: Trainer) -> Trainer:
    """The same model for a lane that makes no update."""
    idle = copy.copy(trainer)
    idle.model = copy.deepcopy(trainer.model)
    return idle


def _train_together(members: Sequence[PackMember], together: Together, stop: StopRequest) -> None:
    with ExitStack() as records:
        for member in members:
            with _concerning(member.lane):
                records.enter_context(member.session)
        try:
            while going := [index for index, member in enumerate(members) if _prepare_update(member, stop)]:
                together.step(going)
                for index in going:
                    members[index].session.sharers = len(going)
                    with _concerning(members[index].lane):
                        members[index].session.after_update()
                for member in members:
                    member.lane.write_end_if_due()
        except StopRequested:
            for member in members:
                if member.lane.is_open:
                    with _concerning(member.lane):
                        member.session.leave()
            raise


def _prepare_update(member: PackMember, stop: StopRequest) -> bool:
    if not member.lane.is_open:
        return False
    with _concerning(member.lane):
        if member.session.prepare_update(stop):
            return True
        member.lane.succeed()
    return False


@contextmanager
def _concerning(lane: Lane) -> Iterator[None]:
    """While inside, an error ends this run alone, unless memory ran out or the device is lost."""
    try:
        with faults.while_computing():
            yield
    except Exception as error:
        if failures.is_out_of_memory(error) or failures.ruins_process(error):
            raise
        lane.fail(error)
