"""Tables of `experiments.toml` beside its experiments: each can be read alone, for which little is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.cluster_settings import ClusterSettings, read_cluster_settings
from tui_datasize.experiments.costs import Costs, read_costs
from tui_datasize.experiments.device_settings import DeviceSettings, read_device_settings
from tui_datasize.experiments.toml import TomlTable, read_toml
from tui_datasize.files import named_path
from tui_datasize.text import shortened

DATA_VARIABLE = "DATASIZE_DATA"
Keep: TypeAlias = Literal["none", "last", "best", "both"]
"""What a run that succeeded keeps: no weights, those of its end, of its best evaluation, or both."""
KEEPS: tuple[Keep, ...] = get_args(Keep)


def data_directory(project_root: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where data sets lie: `DATASIZE_DATA`, else `[paths] data`, else the user's data directory."""
    return read_data_dir(_top_level(project_root).table("paths"), project_root, environment)


def device_settings(project_root: Path) -> DeviceSettings:
    """`[devices]` of a project, whose experiments are not looked at; defaults without the file."""
    return read_device_settings(_top_level(project_root).table("devices"))


def project_costs(project_root: Path) -> Costs:
    """`[costs]` of a project, whose experiments are not looked at; none without the file."""
    return read_costs(_top_level(project_root).table("costs"))


def cluster_settings(project_root: Path) -> ClusterSettings | None:
    """`[cluster]` of a project, whose experiments are not looked at; None without the table."""
    return read_cluster(_top_level(project_root))


def read_cluster(document: TomlTable) -> ClusterSettings | None:
    """`[cluster]` of a file that was read; None without the table."""
    return read_cluster_settings(document.table("cluster") if document.has("cluster") else None)


def is_shared(project_root: Path) -> bool:
    """Whether the group of the runs directory may look at it and run jobs in it: `[project] shared`.

    A file that is wrong shares nothing.
    """
    with suppress(ConfigError):
        return read_shared(_top_level(project_root).table("project"))
    return False


def read_shared(table: TomlTable) -> bool:
    """`shared` of `[project]`."""
    shared = table.boolean("shared", default=False)
    table.finish()
    return shared


def read_keep(table: TomlTable) -> Keep:
    """`keep` of `[checkpoints]`."""
    keep = table.choice("keep", KEEPS, "none")
    table.finish()
    return keep


def notify_command(project_root: Path) -> str:
    """The shell command to be told of ends and failures; empty where there is none."""
    return _top_level(project_root).text("notify", "")


def _top_level(project_root: Path) -> TomlTable:
    file = project_root / "experiments.toml"
    return TomlTable(read_toml(file) if file.exists() else {}, str(file))


def read_data_dir(paths: TomlTable, root: Path, environment: Mapping[str, str]) -> Path:
    """Where data sets lie, of `[paths]` and an environment."""
    configured = paths.text("data", "")
    paths.finish()
    given = environment.get(DATA_VARIABLE, "")
    if named := given or configured:
        try:
            return named_path(named, Path() if given else root)
        except ValueError as error:
            where = f"environment variable {DATA_VARIABLE}" if given else paths.where("data")
            raise ConfigError(
                f"{shortened(named)!r} cannot hold data sets: {error}",
                where=where,
                fix="name another directory",
            ) from None
    import platformdirs

    return platformdirs.user_data_path("datasize-tui")
