"""What jobs that come to nothing tell: of a run, of a node, or of all nodes. Pure but for the clock.

A job that ends before its worker has claimed the run has shown nothing of the run. It costs the run nothing
until others have begun where it did not; a node on which jobs end so, while they begin on others, is avoided.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_ENDS = 2
"""Ends in a row after which a node is avoided."""
_NODES = 3
"""So many nodes that have gone bad since a worker has begun are no coincidence."""
AVOIDED_S = 3600.0
"""For which a node is avoided."""


@dataclass(eq=False)
class Evidence:
    """What has been seen of one cluster since this scheduler began.

    Nodes have Slurm's names; the empty one is of a task of which it does not tell, or that never started.
    """

    _good: set[str] = field(default_factory=set)
    """Nodes of which the newest sign is that a worker has begun."""
    _ends: dict[str, list[str]] = field(default_factory=dict)
    """By node, the runs whose jobs came to nothing there since one has begun."""
    _ended_s: dict[str, float] = field(default_factory=dict)
    _struck: dict[str, set[str]] = field(default_factory=dict)
    """By run, the nodes on which its jobs came to nothing since it has begun."""
    _blamed: set[str] = field(default_factory=set)
    """Runs that came to nothing where others have begun since."""
    _row: set[str] = field(default_factory=set)
    """Nodes on which jobs came to nothing since any worker has begun."""
    _lacking: set[str] | None = None
    """Runs that have begun since one ended for what the machine lacks; None where none has lately."""
    _hit: set[str] = field(default_factory=set)
    """Runs that were at work while the shared disk was away: their workers end then, without a word."""
    _trouble: str = ""

    @property
    def is_probing(self) -> bool:
        """Whether one run is to find out if any can be made."""
        # With nothing to go by, the first trouble is held against all nodes.
        return self._lacking is not None or bool(self._row and (not self._good or len(self._row) >= _NODES))

    def is_probe(self, run_id: str) -> bool:
        """Whether a run that has begun is yet to show whether it lacks what another did."""
        return self._lacking is not None and run_id in self._lacking

    def take_trouble(self) -> str:
        """What has come to nothing since the last call, the newest; empty where nothing has."""
        trouble, self._trouble = self._trouble, ""
        return trouble

    def avoided(self) -> Sequence[str]:
        """The nodes that are to get no more runs, while others make them."""
        now_s = time.monotonic()
        for node, ended_s in list(self._ended_s.items()):
            if now_s > ended_s + AVOIDED_S:
                del self._ended_s[node], self._ends[node]
        bad = (node for node, ends in self._ends.items() if len(ends) >= _ENDS)
        return sorted(bad) if self._good else ()

    def forget_nodes(self) -> None:
        """Avoid none any more: nothing is left without them."""
        self._ends.clear()
        self._ended_s.clear()

    def is_suspect(self, run_id: str) -> bool:
        """Whether other runs tell more of the cluster than this one."""
        return run_id in self._struck

    def disk_was_away(self, run_ids: Iterable[str]) -> None:
        """Note runs that were at work meanwhile."""
        self._hit.update(run_ids)

    def is_hit(self, run_id: str) -> bool:
        """Whether it is the shared disk's fault that the worker of a run has vanished."""
        return run_id in self._hit

    def begun(self, run_id: str, node: str) -> None:
        """Note that a worker has claimed a run."""
        self._hit.discard(run_id)
        self._struck.pop(run_id, None)
        self._blamed.discard(run_id)
        if self._lacking is not None:
            # It may lack the same: what counts is that it gets further.
            self._lacking.add(run_id)
            return
        self._row.clear()
        self._exonerate(node)
        for run, nodes in list(self._struck.items()):
            if (node in nodes or len(nodes) > 1) and run != run_id:
                self._blame(run)

    def at_work(self, run_id: str, node: str, *, has_saved: bool) -> None:
        """Note that a run is at work; `has_saved` if it got further since it began, or ended by itself."""
        if node and node not in self._ends:
            self._good.add(node)
        if has_saved and self.is_probe(run_id):
            self._lacking = None
            self.begun(run_id, node)

    def is_own_fault(self, run_id: str, node: str) -> bool:
        """Whether it is a run's own fault that its job has ended on a node before its worker had it."""
        return run_id in self._blamed and node in self._good

    def ended_unseen(self, run_id: str, node: str, why: str) -> None:
        """Note that a job has ended before its worker had the run, which is not the run's own fault."""
        self._note(run_id, node, why)

    def lacked(self, run_id: str, node: str, why: str) -> None:
        """Note that a run has ended for what the machine lacks, by the word of its worker."""
        self._lacking = set()
        self._note(run_id, node, why)

    def _note(self, run_id: str, node: str, why: str) -> None:
        self._trouble = why
        self._row.add(node or run_id)
        nodes = self._struck.setdefault(run_id, set())
        if node:
            nodes.add(node)
            self._ends.setdefault(node, []).append(run_id)
            self._ended_s[node] = time.monotonic()
            self._good.discard(node)

    def _exonerate(self, node: str) -> None:
        self._ends.pop(node, None)
        self._ended_s.pop(node, None)
        if node:
            self._good.add(node)

    def _blame(self, run_id: str) -> None:
        """Hold against a run, and not against nodes, that it does not begin."""
        self._blamed.add(run_id)
        for node in self._struck.get(run_id, ()):
            kept = [run for run in self._ends.get(node, ()) if run != run_id]
            if kept:
                self._ends[node] = kept
            else:
                self._ends.pop(node, None)
                self._ended_s.pop(node, None)
