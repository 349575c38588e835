"""A real Slurm on this machine, on loopback: munged, slurmctld and slurmd in a directory of their own.

They are started without systemd and stopped by their process files; no installed Slurm is touched. For root
alone: SlurmUser is root.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
DEADLINE_S = 90.0
_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={root}/munge/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
JobRequeue=1
SlurmctldTimeout=30
SlurmdTimeout=20
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} \
ThreadsPerCore=1 RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
_GPUS = "NodeName={host} Name=gpu File=/dev/null\nNodeName={host} Name=gpu File=/dev/zero\n"


def why_not() -> str:
    """What keeps Slurm from being started here, in a word; empty where nothing does."""
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin"
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"Slurm is not installed here: no {', '.join(missing)}"
    return "" if os.geteuid() == 0 else "a Slurm of one's own takes root"


class Slurm:
    """The three of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # munge wants everybody to reach its socket.
        root.chmod(0o755)
        for name in ("state", "spool", "log", "munge"):
            (root / name).mkdir()
        (root / "munge").chmod(0o755)
        key = root / "munge" / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.host = host = os.uname().nodename.partition(".")[0]
        cpus = os.cpu_count() or 1
        conf = _CONF.format(root=root, host=host, ports=_free_ports(), cpus=cpus)
        (root / "slurm.conf").write_text(conf)
        (root / "gres.conf").write_text(_GPUS.format(host=host))
        (root / "cgroup.conf").touch()
        os.environ["SLURM_CONF"] = str(root / "slurm.conf")

    def start(self) -> None:
        """Start munged, which lives as long as this."""
        munge = self.root / "munge"
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        names |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        _run("munged", *(f"--{option}={munge / name}" for option, name in names.items()))

    def renew(self) -> None:
        """Start the other two with nothing of what was before: no job, no step, no GPU that counts as taken.

        What other tests kill leaves all of these, and `scancel` has brought slurmctld down.
        """
        self._end("slurmd", "slurmctld")
        for pid in self.steps():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait(lambda: not self.steps())
        for name in ("state", "spool"):
            shutil.rmtree(self.root / name)
            (self.root / name).mkdir()
        self.start_controller("-c")
        self.start_node()
        self.wait(self.is_ready)

    def resume(self) -> None:
        """Do as its administrator does for a node that Slurm has drained: kills leave "Duplicate jobid"."""
        if "drain" in self.ask("sinfo", "-h", "-o", "%T"):
            self.ask("scontrol", "update", f"NodeName={self.host}", "State=RESUME")

    def is_ready(self) -> bool:
        """Whether jobs can run."""
        return self.ask("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed", "allocated")

    def start_controller(self, *options: str) -> None:
        """Start slurmctld; with `-c` it forgets what was."""
        _run("slurmctld", *options)
        self.wait(lambda: "UP" in self.ask("scontrol", "ping"))

    def start_node(self) -> None:
        """Start slurmd."""
        _run("slurmd")
        self.wait(lambda: self.pid("slurmd") > 0)

    def kill(self, name: str) -> None:
        """kill -9 of slurmctld or slurmd."""
        if pid := self.pid(name):
            os.kill(pid, signal.SIGKILL)
            self.wait(partial(_has_ended, pid))

    def pid(self, name: str) -> int:
        """The process that wrote the file, if it lives; 0 otherwise."""
        file = self.root / ("munge/munged.pid" if name == "munged" else f"{name}.pid")
        with suppress(OSError, ValueError):
            pid = int(file.read_text())
            return pid if _is_alive(pid, name) else 0
        return 0

    def steps(self) -> list[int]:
        """The processes that watch over jobs of this node."""
        found = []
        for directory in Path("/proc").iterdir():
            with suppress(OSError):
                is_step = (directory / "comm").read_text().strip() == "slurmstepd"
                if is_step and str(self.root).encode() in (directory / "environ").read_bytes():
                    found.append(int(directory.name))
        return found

    def ask(self, *words: str) -> str:
        """What a command prints, whether it fails or not."""
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        return done.stdout + done.stderr

    def wait(self, condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        """Look until it holds."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """The ends of what the daemons say."""
        ends = (f"{file.name}: {file.read_text()[-1500:]}" for file in (self.root / "log").iterdir())
        return "\n".join([self.ask("squeue", "-a"), *ends])

    def stop(self) -> None:
        """End all jobs and the three, by their process files."""
        if self.pid("slurmctld") and self.pid("slurmd"):
            self.ask("scancel", "--user=root")
            with suppress(AssertionError):
                self.wait(lambda: not self.ask("squeue", "-h").strip(), 30.0)
        self._end("slurmd", "slurmctld", "munged")

    def _end(self, *names: str) -> None:
        for name in names:
            if pid := self.pid(name):
                os.kill(pid, signal.SIGTERM)
                with suppress(AssertionError):
                    self.wait(partial(_has_ended, pid), 20.0)
                    continue
                os.kill(pid, signal.SIGKILL)
                self.wait(partial(_has_ended, pid))


def _free_ports() -> list[int]:
    """Two that nobody listens at."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in (first, second)]


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def _has_ended(pid: int) -> bool:
    return not _is_alive(pid)


def _is_alive(pid: int, name: str = "") -> bool:
    try:
        command = Path(f"/proc/{pid}/comm").read_text().strip()
        return b") Z" not in Path(f"/proc/{pid}/stat").read_bytes() and command.startswith(name)
    except OSError:
        return False
