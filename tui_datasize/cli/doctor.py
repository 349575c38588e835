"""`doctor`: everything that a run needs, one line each. `selftest`: whether a machine computes correctly."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tui_datasize import __version__
from tui_datasize.cli.basics import print_json, project_paths
from tui_datasize.cli.checks import Check, Verdict
from tui_datasize.errors import EXIT_OK, EXIT_RUN_FAILED, ConfigError, DataError, DatasizeError
from tui_datasize.experiments.catalogue import ARRAYS, DATASETS, refuse_unshown, walked
from tui_datasize.experiments.images.named import NamedImages, named_images
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.sweep import check_runs
from tui_datasize.jobs.client import QueueClient
from tui_datasize.jobs.queue.database import storage_errors
from tui_datasize.jobs.queue.faults import FaultKind
from tui_datasize.jobs.queue.file_systems import check_file_system, file_system
from tui_datasize.jobs.rebuild import repair
from tui_datasize.jobs.scheduler.devices import FORGET, or_cpu, read_devices, settings_of
from tui_datasize.jobs.scheduler.gpu_probes import PROBE_CALL, probe_now
from tui_datasize.jobs.scheduler.slots import SlotHolder, all_slots, read_holders, slot_directory, unusable
from tui_datasize.jobs.workers.process import describe_process
from tui_datasize.programs import private_caches, python_code
from tui_datasize.render.console import PlainConsole, styled
from tui_datasize.runlog.paths import ProjectPaths
from tui_datasize.text import plural
from tui_datasize.training.selftest.record import last_of

LITTLE_DISK_BYTES = 5 * 10**9
NO_DISK_BYTES = 200 * 10**6
NOT_IN_DIRECTORIES = (
    "run directories do not record whether the queue was drained, which jobs were held, priorities, and runs "
    "that never began: before a scheduler starts, drain the queue or hold jobs again that must not start; "
    "then queue the experiments again"
)
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(arguments: argparse.Namespace) -> int:
    """Print one line per check; exit status 1 if anything would stop a run."""
    paths = project_paths(arguments)
    repaired = [_repair(paths)] if arguments.repair else []
    repaired += [_forget(paths)] if arguments.forget_gpus else []
    checks = [*repaired, *(_cluster_checks(paths) if arguments.cluster else run_checks(paths))]
    if arguments.json:
        print_json([asdict(check) for check in checks])
    else:
        console = PlainConsole(soft_wrap=True)
        for check in checks:
            line = styled((f"{check.verdict:4}", STYLES[check.verdict]), f"  {check.name:12}  {check.text}")
            console.print(line)
    return EXIT_RUN_FAILED if any(check.verdict == "fail" for check in checks) else EXIT_OK


def _cluster_checks(paths: ProjectPaths) -> Iterator[Check]:
    # Only here: most projects have no cluster.
    from tui_datasize.cli.doctor_cluster import cluster_checks

    return cluster_checks(paths)


def run_checks(paths: ProjectPaths) -> Iterator[Check]:
    """All checks, in the order in which a run would meet what they look at."""
    yield _versions()
    yield _devices(paths)
    yield from _gpus(paths)
    yield _torch()
    yield from _selftests()
    yield _survival()
    yield _disk(paths)
    yield _file_system(paths)
    yield from _project(paths)
    yield _queue(paths)
    yield from _faults(paths)
    yield _slots(paths)
    yield _orphans(paths)


def _repair(paths: ProjectPaths) -> Check:
    done = repair(paths)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(done.added.items()))
    added = plural(sum(done.added.values()), "run")
    told = [f"{added} added from run directories" + (f": {counted}" if counted else "")]
    if done.aside:
        told = [f"the queue {done.problem}; it is kept as {done.aside}", *told]
    if done.aside or done.added:
        told.append(NOT_IN_DIRECTORIES)
    told += [f"{file} cannot be read, or says nothing about a run" for file in done.unreadable]
    if not done.aside and not done.added and not done.unreadable:
        return Check("repair", "ok", "the queue is sound and lists every run directory")
    return Check("repair", "warn" if done.aside or done.unreadable else "ok", "; ".join(told))


def _forget(paths: ProjectPaths) -> Check:
    """Let a machine whose GPUs were taken out for good be one that never had any."""
    forgotten = QueueClient(paths).forget_gpus()
    text = f"{', '.join(forgotten)} forgotten" if forgotten else "runs of this project have used none"
    return Check("forget GPUs", "ok", text)


def _versions() -> Check:
    packages = ("torch", "torchvision", "torchmetrics", "polars", "textual", "plotext")
    try:
        listed = ", ".join(f"{package} {version(package)}" for package in packages)
    except PackageNotFoundError as error:
        return Check("versions", "fail", f"{error.name} is not installed; install datasize-tui again")
    own = f"datasize-tui {__version__}, Python {platform.python_version()}"
    return Check("versions", "ok", f"{own}, {listed}")


def _devices(paths: ProjectPaths) -> Check:
    """The GPUs: a failure where there are some, or runs have used some, and none takes a job now."""
    client = QueueClient(paths)
    try:
        slots, used = client.slots(), client.used_gpus()
        faulty = {fault.subject for fault in client.faults() if fault.kind is FaultKind.GPU}
        at_once = f"{plural(slots, 'job')} at once"
    except DatasizeError:
        # Said by the check of the queue.
        slots, used, faulty = None, [], set()
        at_once = "how many jobs run at once is unknown without the queue"
    report = or_cpu(read_devices(lambda: used), settings_of(paths.root).cpu, faulty)
    listed = ", ".join(
        f"{gpu.name} ({gpu.memory_free_bytes / 2**30:.1f} of {gpu.memory_total_bytes / 2**30:.1f} GiB free)"
        for gpu in report.gpus
    )
    driver = f"driver {report.driver_version}" if report.driver_version else ""
    told = [listed, driver, report.problem] if report.gpus else [driver, report.problem]
    is_sound = any(not gpu.fault and gpu.uuid not in faulty for gpu in report.gpus)
    for gpu in report.gpus:
        # This project's own workers included; screens are not named.
        if pids := [process.pid for process in gpu.processes if process.computes]:
            told.append(f"on {gpu.title}: {', '.join(map(describe_process, pids))}")
    if used and not is_sound and FORGET not in report.problem:
        told.append(f"runs of this project have used {', '.join(used)}, and no GPU takes jobs now; {FORGET}")
    # A scheduler that runs may know of GPUs that are not even listed any more: it has no slots then.
    is_stopped = not is_sound and (not report.cpu_slots or slots == 0)
    verdict: Verdict = "fail" if is_stopped else "warn" if report.problem else "ok"
    return Check("devices", verdict, f"{'; '.join(filter(None, told))}, {at_once}")


def _gpus(paths: ProjectPaths) -> Iterator[Check]:
    """Each GPU that takes jobs and has no run: whether it computes."""
    capacity = settings_of(paths.root).slots_per_gpu
    for gpu in read_devices().gpus:
        name = f"GPU {gpu.label}"
        if gpu.fault:
            # Said by the check of the devices.
            continue
        try:
            with all_slots(gpu.uuid, capacity, paths.root.absolute()) as slots:
                why = probe_now(gpu.uuid, slots, PROBE_CALL) if slots else ""
        except OSError as error:
            yield Check(name, "warn", f"cannot be tried: {error}")
            continue
        if not slots:
            yield Check(name, "ok", "a run is on it")
        elif why:
            yield Check(name, "fail", f"{gpu.title} cannot be used: {why}")
        else:
            # Of a queue that cannot be read its own check tells.
            with suppress(DatasizeError):
                QueueClient(paths).note_gpu_works(gpu.uuid)
            yield Check(name, "ok", "a convolution ran forward and backward on it")


def _torch() -> Check:
    code = (
        "import torch; c = torch.cuda; n = c.device_count() if c.is_available() else 0;"
        "print(torch.__version__, 'sees', ', '.join(c.get_device_name(i) for i in range(n)) or 'no GPU')"
    )
    environment = os.environ | private_caches()
    done = subprocess.run(python_code(code), env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return Check("torch", "fail", f"cannot be imported: {last[0]}")
    sees_none = "no GPU" in done.stdout
    if sees_none and read_devices().gpus:
        return Check("torch", "fail", f"torch {done.stdout.strip()}, though the driver does: versions clash")
    return Check("torch", "ok", f"torch {done.stdout.strip()}")


def _selftests() -> Iterator[Check]:
    """When each device was last tested with its driver and this torch, and what was wrong then."""
    report = read_devices()
    devices = [(gpu.name, gpu.uuid, report.driver_version) for gpu in report.gpus] or [("the CPU", "", "")]
    for name, uuid, driver in devices:
        last = last_of(uuid, driver)
        if last is None:
            advice = f"not run yet on {name} with this driver and torch: `datasize-tui selftest` (12 minutes)"
            yield Check("selftest", "warn" if uuid else "ok", advice)
            continue
        file, document = last
        steps = document["steps"].values()
        wrong = [key for key, step in document["steps"].items() if step["verdict"] == "fail"]
        when = max(step["at"] for step in steps)[:16].replace("T", " ")
        good = sum(step["verdict"] == "ok" for step in steps)
        found = f"WRONG in {', '.join(wrong)}: see {file}" if wrong else ""
        found = found or f"nothing wrong in {plural(good, 'step')}"
        yield Check("selftest", "warn" if wrong else "ok", f"{name}, {when} UTC: {found}")


def _survival() -> Check:
    """Whether logind would kill detached processes when the last SSH connection of a user closes."""
    name = "ssh drop"
    if not shutil.which("loginctl"):
        return Check(name, "ok", "no logind here; detached processes outlive a closed connection")
    shown = _first_output(["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"])
    kills = _first_output(
        ["busctl", "get-property", "org.freedesktop.login1", "/org/freedesktop/login1",
         "org.freedesktop.login1.Manager", "KillUserProcesses"]
    )  # fmt: skip
    if shown == "yes" or kills == "b false":
        return Check(name, "ok", "runs outlive a closed connection")
    if kills == "b true":
        return Check(name, "warn", "logind kills your processes at logout; run `loginctl enable-linger`")
    return Check(name, "ok", "logind does not answer; it is not known to kill processes at logout here")


def _first_output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _disk(paths: ProjectPaths) -> Check:
    where = _existing(paths)
    free = shutil.disk_usage(where).free
    text = f"{free / 10**9:.1f} GB free for {paths.runs}"
    if not os.access(where, os.W_OK):
        return Check("disk", "fail", f"{where} is not writable; change its permissions")
    if free < NO_DISK_BYTES:
        return Check("disk", "fail", f"{text}; free some space")
    return Check("disk", "warn" if free < LITTLE_DISK_BYTES else "ok", text)


def _existing(paths: ProjectPaths) -> Path:
    """The runs directory, or what it will be made in."""
    return next(path for path in (paths.runs, *paths.runs.parents) if path.exists())


def _file_system(paths: ProjectPaths) -> Check:
    where = _existing(paths)
    try:
        with storage_errors(where):
            doubt = check_file_system(where)
    except DatasizeError as error:
        return Check("file system", "fail", error.line)
    if doubt:
        return Check("file system", "warn", doubt)
    return Check("file system", "ok", f"{where} is on a local file system ({file_system(where)})")


def _project(paths: ProjectPaths) -> Iterator[Check]:
    try:
        project = load_project(paths.experiments)
    except DatasizeError as error:
        yield Check("experiments", "fail", error.line)
        return
    yield Check("experiments", "ok", f"{len(project.experiments)} in {paths.experiments}")
    datasets: dict[NamedImages, None] = {}
    for experiment in project.experiments.values():
        try:
            check_runs(experiment, project)
            for recipe in experiment.recipes:
                named = named_images(recipe.spec, experiment.dataset, experiment.reading(recipe))
                datasets |= dict.fromkeys(named)
        except DataError as error:
            yield Check("data set", "fail", error.line)
        except DatasizeError as error:
            yield Check("experiments", "fail", error.line)
    yield from dict.fromkeys(_dataset(named, project.data_dir) for named in datasets)


def _dataset(named: NamedImages, data_dir: Path) -> Check:
    """A data set that the first run has yet to download may fail there, on a machine without a network."""
    name = named.name
    if name not in DATASETS:
        return _folder(named, data_dir)
    how_to_get = DATASETS[name].how_to_get
    decoded = data_dir / ARRAYS
    if any(decoded.glob(f"{name}-*v[0-9]*")):
        return Check("data set", "ok", f"{name}, decoded in {decoded}")
    if DATASETS[name].is_installed:
        return Check("data set", "ok", f"{name}, {how_to_get}")
    return Check("data set", "warn", f"{name} is not in {decoded} yet: {how_to_get}")


def _folder(named: NamedImages, data_dir: Path) -> Check:
    """What of an image folder is used, and how that is shown."""
    name, role, image_px, reading = named
    try:
        found = refuse_unshown(name, data_dir, reading, image_px, role)
        listing = found.listing if found else walked(name, data_dir, reading, role)
    except DataError as error:
        return Check("data set", "fail", error.line)
    train, test = (sum(map(len, split)) for split in (listing.train, listing.test))
    further = {"tests": f"{test:,} further test images", "synthetic": f"{test:,} generated images"}
    images = further.get(role, f"{train:,} and {test:,} images")
    counted = f"{name}, {images} of {plural(len(listing.test), 'class', 'classes')}"
    if role == "unlabelled":
        counted = f"{name}, {plural(test, 'image')} without labels"
    told = found.told if found else ()
    lost = bool(listing.passed_over or (found and found.skipped))
    return Check("data set", "warn" if lost else "ok", "; ".join([counted, *told]))


def _queue(paths: ProjectPaths) -> Check:
    if not paths.queue.exists():
        return Check("queue", "ok", "empty; the first command or the app makes it")
    try:
        client = QueueClient(paths)
        jobs, alive = client.jobs(), client.scheduler_alive()
        settings = client.settings()
    except DatasizeError as error:
        return Check("queue", "fail", error.line)
    waiting = sum(not job.state.is_final for job in jobs)
    verb = "running" if alive else "not running"
    text = f"{plural(len(jobs), 'job')}, {waiting} not done, scheduler {verb}"
    could_start = any(job.state.is_waiting and not job.waits_for for job in jobs)
    obstacles = []
    if settings.draining:
        obstacles.append("it is draining and starts no jobs; `datasize-tui drain --off` ends that")
    if settings.stopped:
        obstacles.append("the scheduler was stopped; `datasize-tui scheduler start` starts another")
    is_down = bool(waiting) and not alive
    if is_down and not settings.stopped:
        text += "; `datasize-tui scheduler start` starts it"
    verdict: Verdict = "fail" if obstacles and could_start else "warn" if obstacles or is_down else "ok"
    return Check("queue", verdict, "; ".join([text, *obstacles]))


def _faults(paths: ProjectPaths) -> Iterator[Check]:
    # Of a queue that cannot be read its own check tells.
    with suppress(DatasizeError):
        client = QueueClient(paths)
        is_down = not client.scheduler_alive()
        for fault in client.faults():
            if fault.kind is FaultKind.SCHEDULER and is_down:
                # Told with the queue.
                continue
            met = f" (met {plural(fault.count, 'time')} since {fault.since})" if fault.count > 1 else ""
            yield Check("fault", "fail", f"{fault.sentence}{met}")


def _slots(paths: ProjectPaths) -> Check:
    """Whether other projects of this machine have the slots that jobs wait for."""
    try:
        holders = read_holders(slot_directory())
    except OSError as error:
        return Check("slots", "fail", unusable(slot_directory(), error))
    try:
        client = QueueClient(paths)
        # What keeps the whole queue is said by the check of the queue.
        is_kept = client.settings().stopped or client.faults()
        waiting = "" if is_kept else client.waits_for_slots()
    except DatasizeError:
        return Check("slots", "warn", "unknown without the queue")
    if waiting:
        return Check("slots", "warn", waiting)
    by_whom = _users_of(holders)
    return Check("slots", "ok", f"used by {by_whom}" if by_whom else "no slot of this machine is used")


def _users_of(holders: Sequence[SlotHolder]) -> str:
    used = Counter(holder.project or "?" for holder in holders)
    return ", ".join(f"{project} ({count})" for project, count in used.items())


def _orphans(paths: ProjectPaths) -> Check:
    """Processes that hold a device slot or a run's lock for nothing."""
    try:
        orphans = QueueClient(paths).orphans()
    except DatasizeError:
        # Said by the check of the queue.
        return Check("orphans", "warn", "unknown without the queue")
    if not orphans:
        return Check("orphans", "ok", "no worker is left over")
    pids = " ".join(str(process.pid) for process in orphans)
    fix = f"look at them with `ps -fp {pids}`, end them with kill"
    return Check("orphans", "warn", f"{len(orphans)} workers have no run any more: {fix}")


def selftest(arguments: argparse.Namespace) -> int:
    """Make the steps asked for, where no run is at work: that changes figures, and takes memory."""
    if not (arguments.list or arguments.busy) and (by_whom := _users_of(read_holders(slot_directory()))):
        fix = "`datasize-tui drain` and wait, or give --busy: figures are then of a busy machine"
        raise ConfigError(f"runs are at work: {by_whom}", fix=fix)
    from tui_datasize.training.selftest import command

    return command.make_selftest(arguments)
