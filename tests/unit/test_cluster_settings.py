"""`[cluster]`: what is accepted, and the one line that refuses the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.cluster_settings import ClusterSettings
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.project_tables import cluster_settings


def test_a_project_without_the_table_has_no_cluster(tmp_path: Path) -> None:
    assert cluster_settings(tmp_path) is None
    (tmp_path / "experiments.toml").write_text("[cluster]")
    assert cluster_settings(tmp_path) == ClusterSettings()


@pytest.mark.parametrize("line", ["time = '1-12'", "time = '0:03:01'", 'setup = """a\n\tb"""'])
def test_an_unusual_value_is_taken(tmp_path: Path, line: str) -> None:
    (tmp_path / "experiments.toml").write_text(f"[cluster]\n{line}")
    assert cluster_settings(tmp_path) is not None


def test_every_key_is_read(tmp_path: Path) -> None:
    text = """[cluster]
kind = "slurm"
partition = "gpu,big"
account = "lab"
gpus = 0
cpus = 4
mem = "16G"
time = "1-12:00:00"
array_width = 16
setup = "module load cuda"
shared = "/shared/lab"
"""
    (tmp_path / "experiments.toml").write_text(text)
    loaded = load_project(tmp_path / "experiments.toml", {}).cluster
    assert loaded == cluster_settings(tmp_path)
    assert loaded == ClusterSettings(
        partition="gpu,big",
        account="lab",
        gpus=0,
        cpus=4,
        mem="16G",
        time="1-12:00:00",
        array_width=16,
        setup="module load cuda",
        shared="/shared/lab",
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("kind = 'pbs'", "cluster.kind: expected one of slurm, got 'pbs'"),
        ("gpus = 2", "cluster.gpus: expected a whole number from 0 to 1, got 2"),
        ("cpus = 0", "cluster.cpus: expected a whole number from 1 to 1024, got 0"),
        ("mem = 'much'", "cluster.mem: expected an amount such as \"8G\", got 'much'"),
        ("time = '4 hours'", 'cluster.time: expected hours, minutes and seconds such as "4:00:00"'),
        ("time = '4:00'", "got '4:00'"),
        ("time = '240'", "got '240'"),
        ("time = '0:03:00'", "and more than 3 minutes, got '0:03:00'"),
        ('setup = "a\\u0000b"', "cluster.setup: expected shell commands without control characters, got "),
        ("partition = '--wrap=rm'", "cluster.partition: expected a name, got '--wrap=rm'"),
        ("shared = 'runs'", "cluster.shared: expected an absolute path, got 'runs'"),
        ("nodes = 2", "cluster: unknown key 'nodes'"),
    ],
)
def test_a_wrong_key_is_one_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "experiments.toml").write_text(f"[cluster]\n{line}")
    with pytest.raises(ConfigError) as caught:
        cluster_settings(tmp_path)
    assert message in caught.value.line
