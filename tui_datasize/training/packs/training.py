"""Training the runs of a worker together, and what is done where memory runs out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tui_datasize.errors import RunFailedError
from tui_datasize.experiments.packing import pack_key
from tui_datasize.training import failures, provenance
from tui_datasize.training.accelerator import faults
from tui_datasize.training.accelerator.device import chosen
from tui_datasize.training.lane import Lane
from tui_datasize.training.packs.calibration import choose
from tui_datasize.training.packs.implementations import IMPLEMENTATIONS, Together
from tui_datasize.training.placement import HasRoom, NotedRoom, has_room, nowhere
from tui_datasize.training.prepare import Shared, prepare
from tui_datasize.training.session import Session
from tui_datasize.training.stop import StopRequest, StopRequested


@dataclass(frozen=True, slots=True)
class PackMember:
    """A run of a pack, ready to train."""

    lane: Lane
    session: Session


def train_lanes(lanes: Sequence[Lane], stop: StopRequest) -> None:
    """Train runs that fit into one pack until each has ended.

    Where memory runs out, they go on from their checkpoints with images that stay in their file; where
    it does again, half of them is trained first, then the other half, down to runs alone.

    Lanes are open at first and have ended on return. A request to leave is asked for between updates, and
    at once while runs are made ready.

    Raises StopRequested: asked to leave; checkpoints hold everything so far, lanes are left open.
    Raises Exception: what all lanes share failed; lanes are left open.
    """
    waiting = [list(lanes)]
    room: HasRoom = has_room
    while waiting:
        group, noted = waiting.pop(0), NotedRoom(room)
        if not _fits(group, stop, noted):
            unfinished = [lane for lane in group if lane.is_open]
            middle = len(unfinished) if noted.was_given else (len(unfinished) + 1) // 2
            waiting[:0] = [part for part in (unfinished[:middle], unfinished[middle:]) if part]
            room = nowhere if noted.was_given else room
        if waiting:
            chosen().release_memory()
            # Where the end of a run could not be written, which others of its pack outlast.
            for lane in lanes:
                lane.write_end_if_due()


def _fits(group: Sequence[Lane], stop: StopRequest, room: NotedRoom) -> bool:
    """Train runs together; False where that takes more memory than there is, and less can be taken."""
    try:
        with faults.while_computing():
            _train(group, stop, room)
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


def _train(group: Sequence[Lane], stop: StopRequest, room: HasRoom) -> None:
    with stop.at_once():
        members = _make_ready(group, room)
        together = _put_together(members) if len(members) > 1 else None
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
            members.append(PackMember(lane, session))
    return members


def _put_together(members: Sequence[PackMember]) -> Together:
    sessions = [member.session for member in members]
    first, width = sessions[0], len(sessions)
    keys = {pack_key(session.spec) for session in sessions}
    if len(keys) > 1 or "" in keys:
        raise RunFailedError(
            "these runs cannot be trained together: they differ in more than lanes of a pack may",
            fix="start them without --pack",
        )
    chosen = choose(first.spec, first.dataset, first.device, width)
    for member in members:
        member.lane.say(f"one of {width} runs trained together, {chosen}")
        with _concerning(member.lane):
            provenance.add_pack(member.lane.paths, width, chosen)
    return IMPLEMENTATIONS[chosen]([session.trainer for session in sessions])


def _train_together(members: Sequence[PackMember], together: Together, stop: StopRequest) -> None:
    with ExitStack() as records:
        for member in members:
            with _concerning(member.lane):
                records.enter_context(member.session)
        try:
            while going := [index for index, member in enumerate(members) if _prepare_update(member, stop)]:
                together.step(going)
                for index in going:
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
