"""`[devices]` and `notify`: what is accepted, the one line that refuses the rest, and who wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_datasize.errors import ConfigError
from tui_datasize.experiments.device_settings import DeviceOptions, DeviceSettings, read_written
from tui_datasize.experiments.load import load_project
from tui_datasize.experiments.project_tables import device_settings, notify_command
from tui_datasize.jobs.scheduler.main import _parser, _settings


def project(root: Path, text: str) -> Path:
    (root / "experiments.toml").write_text(text)
    return root


def test_a_project_without_the_table_or_the_file_has_the_defaults(tmp_path: Path) -> None:
    assert device_settings(tmp_path) == DeviceSettings()
    assert notify_command(tmp_path) == ""
    loaded = load_project(project(tmp_path, "") / "experiments.toml", {})
    assert (loaded.devices, loaded.notify) == (DeviceSettings(), "")


def test_every_key_is_read(tmp_path: Path) -> None:
    text = (
        "notify = 'mail me'\n[devices]\nslots_per_gpu = 2\nmax_jobs_per_gpu = 3\ncpu_slots = 4\ncold = true\n"
        "cpu = true\npacks = 'always'\npack_width = 4\n"
    )
    loaded = load_project(project(tmp_path, text) / "experiments.toml", {})
    assert (
        loaded.devices
        == device_settings(tmp_path)
        == DeviceSettings(
            slots_per_gpu=2,
            max_jobs_per_gpu=3,
            cpu_slots=4,
            cpu=True,
            cold=True,
            packs="always",
            pack_width=4,
        )
    )
    assert loaded.notify == notify_command(tmp_path) == "mail me"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[devices]\nslots_per_gpu = 0",
            "slots_per_gpu: expected a whole number from 1 to 64, got 0",
        ),
        ("[devices]\ncpu_slots = 1000", "devices.cpu_slots: expected a whole number from 1 to 64, got 1000"),
        ("[devices]\ncpu = 'yes'", "devices.cpu: expected true or false, got 'yes'"),
        ("[devices]\ncold = 1", "devices.cold: expected true or false, got 1"),
        ("[devices]\npacks = true", "devices.packs: expected one of off, auto, always, got true"),
        ("[devices]\npack_width = 65", "devices.pack_width: expected a whole number from 1 to 64, got 65"),
        ("[devices]\nslots_per_gpus = 2", "unknown key 'slots_per_gpus'; did you mean 'slots_per_gpu'?"),
        (
            "[devices]\nslots_per_gpu = 3\nmax_jobs_per_gpu = 2",
            "devices.max_jobs_per_gpu: expected at least slots_per_gpu, which is 3, got 2",
        ),
        ("devices = 3", "devices: expected a table, got 3"),
    ],
)
def test_a_wrong_table_is_one_line_for_people_and_for_the_scheduler(
    tmp_path: Path, text: str, message: str
) -> None:
    project(tmp_path, text)
    for read in (lambda: load_project(tmp_path / "experiments.toml", {}), lambda: device_settings(tmp_path)):
        with pytest.raises(ConfigError) as caught:
            read()
        assert message in caught.value.line
        assert "\n" not in caught.value.line


def test_options_of_the_scheduler_win_over_the_file(tmp_path: Path) -> None:
    project(tmp_path, "[devices]\nslots_per_gpu = 2\ncpu_slots = 4\ncold = true\n")

    def limits(*options: str) -> tuple[int, int | None, bool]:
        settings = _settings(_parser().parse_args(["--project", str(tmp_path), *options]))
        return settings.devices.slots_per_gpu, settings.devices.cpu_slots, settings.call == ""

    assert limits() == (2, 4, True)
    assert limits("--slots-per-gpu", "5", "--cpu-slots", "1") == (5, 1, True)
    project(tmp_path, "[experiments.broken]\nnothing = 'but the devices are looked at'")
    assert limits() == (1, None, False)
    assert limits("--cold") == (1, None, True)
    project(tmp_path, "[devices]\ncold = true\n")
    assert limits("--no-cold") == (1, None, False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], ("off", 4)), (["--packs", "auto", "--pack-width", "2"], ("auto", 2))],
)
def test_packs_of_the_file_give_way_to_options(
    tmp_path: Path, options: list[str], expected: tuple[str, int]
) -> None:
    project(tmp_path, "[devices]\npacks = 'off'\npack_width = 4\n")
    limits = _settings(_parser().parse_args(["--project", str(tmp_path), *options])).devices
    assert (limits.packs, limits.pack_width) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], 3), (["--slots-per-gpu", "5"], 5), (["--max-jobs-per-gpu", "4", "--slots-per-gpu", "2"], 4)],
)
def test_the_most_jobs_of_the_file_give_way_to_options(
    tmp_path: Path, options: list[str], expected: int
) -> None:
    project(tmp_path, "[devices]\nslots_per_gpu = 2\nmax_jobs_per_gpu = 3\n")
    settings = _settings(_parser().parse_args(["--project", str(tmp_path), *options]))
    assert settings.devices.max_jobs_per_gpu == expected


def test_what_is_written_into_fields_is_read_and_an_empty_one_says_nothing() -> None:
    texts = {"slots_per_gpu": " 2 ", "max_jobs_per_gpu": "", "packs": "always", "cold": "no"}
    options = read_written(texts, DeviceSettings())
    assert options == DeviceOptions(slots_per_gpu=2, packs="always", cold=False)
    parsed = _parser().parse_args(["--project", ".", *options.arguments()])
    assert DeviceOptions.of(parsed) == options


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"cpu_slots": "0"}, "cpu_slots: expected a whole number from 1 to 64, got 0"),
        ({"cpu_slots": "many"}, "cpu_slots: expected a whole number from 1 to 64, got 'many'"),
        ({"pack_width": "65"}, "pack_width: expected a whole number from 1 to 64, got 65"),
        ({"packs": "2"}, "packs: expected one of off, auto, always, got 2"),
        ({"cold": "perhaps"}, "cold: expected true or false, got 'perhaps'"),
        (
            {"slots_per_gpu": "3", "max_jobs_per_gpu": "2"},
            "max_jobs_per_gpu: expected at least slots_per_gpu, which is 3, got 2",
        ),
        # Those of the file, where nothing is written.
        ({"max_jobs_per_gpu": "3"}, "max_jobs_per_gpu: expected at least slots_per_gpu, which is 4, got 3"),
    ],
)
def test_what_is_written_wrongly_is_one_line(texts: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_written(texts, DeviceSettings(slots_per_gpu=4))
    assert caught.value.line == message
