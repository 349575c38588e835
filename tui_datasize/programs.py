"""Other programs: which are installed, and starting them so that nothing else is executed by the way.

That is nothing of the current directory, or of a repository.

Standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

_GIT = (
    *("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}"),
    *("-c", "status.submoduleSummary=false", "-c", "log.showSignature=false"),
)
_GIT_ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        # Objects that are missing are not fetched, by whatever command the repository names for that.
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ALLOW_PROTOCOL": "none",
    }
)
_FILTERS = r"^filter\..*\.(clean|process|required)$"


def installed_version(package: str) -> str:
    """Of a package of Python, without importing it; empty where there is none."""
    # Whoever only looks at the queue need not load it.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def python_module(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module in this interpreter, without the current directory on its path."""
    return (sys.executable, "-P", "-m", module, *arguments)


def python_code(code: str) -> tuple[str, ...]:
    """The command that runs a few statements, as `python_module`."""
    return (sys.executable, "-P", "-c", code)


def git(directory: Path, *arguments: str) -> str | None:
    """What git prints about a directory; None where there is no git, no repository, or no answer.

    Of what the repository's own configuration would have git execute, nothing is: monitors, hooks, pagers and
    filters. Filters of the user's own configuration are.
    """
    names = _ask_git(directory, "config", "--show-scope", "--name-only", "-z", "--get-regexp", _FILTERS)
    fields = names.split("\0") if names else []
    scoped = zip(fields[::2], fields[1::2], strict=False)
    own = [name for scope, name in scoped if scope in ("local", "worktree")]
    if any("=" in name for name in own):
        # There is no way to set such a name.
        return None
    values = [f"{name}={'false' if name.endswith('.required') else ''}" for name in own]
    answer = _ask_git(directory, *(word for value in values for word in ("-c", value)), *arguments)
    return None if answer is None else answer.strip()


def _ask_git(directory: Path, *arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            [*_GIT, *arguments],
            cwd=directory,
            env={**environment, **_GIT_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None


def private_caches(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Where libraries keep what they build, as environment variables; what is set already is left alone.

    By themselves they use names in the shared temporary directory that anybody can take before.
    """
    import platformdirs

    place = platformdirs.user_cache_path("datasize-tui") / "libraries"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_usable = os.access(place, os.W_OK | os.X_OK)
    except OSError:
        is_usable = False
    if not is_usable:
        place = Path(tempfile.mkdtemp(prefix="datasize-tui-"))
    names = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "POLARS_TEMP_DIR": "polars"}
    return {variable: str(place / name) for variable, name in names.items() if not environment.get(variable)}
