"""Files, headings, modules, commands and classes that the documents name are there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tui_datasize
from benchmarks.mutants import MUTANTS
from tui_datasize.cli.parser import SUBCOMMANDS
from tui_datasize.tui.analysis import tab as analysis
from tui_datasize.tui.app import DatasizeApp
from tui_datasize.tui.chart_pane import CHART_KEYS
from tui_datasize.tui.keys import key_name
from tui_datasize.tui.live.tab import LivePane
from tui_datasize.tui.live.table import LiveTable
from tui_datasize.tui.queue.cell_map import CellMap
from tui_datasize.tui.queue.job_table import JobTable
from tui_datasize.tui.queue.tab import QueuePane

PACKAGE = Path(tui_datasize.__file__).parent
ROOT = PACKAGE.parent
DOCUMENTS = sorted(
    {*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *(ROOT / "docs").rglob("*.md")}
    - {ROOT / "CHANGELOG.md"}
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
MADE_UP = {"answers/NAME.py", "answers/failures.py"}

LINK = re.compile(r"\]\(([^)\s#]*)#?([^)\s]*)\)")
CODE = re.compile(r"```sh\n(.*?)```|`([^`\n]+)`", re.S)
FILE = re.compile(r"(?<![\w./-])(?:[\w-]+/)+[\w-]+\.(?:py|md|json|parquet|toml)")
MODULE = re.compile(r"\b(?:tui_datasize|benchmarks)(?:\.\w+)+")
COMMAND = re.compile(r"datasize-tui ([a-z]+)\b")
CLASS = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+")
REFERENCE = r"\[\d{4}\]\(\d{4}-[\w-]+\.md\)"
PART = rf"{REFERENCE}\s\([^)]+\)"
STATUS = re.compile(
    rf"In\sforce(; superseded in part by {PART}(, {PART})*)?\.\n\n|Superseded by {REFERENCE}\.\n\n"
)


def lacking(document: Path, text: str) -> Iterator[str]:
    """What a document names that is not there."""
    for where, heading in LINK.findall(text):
        target = document.parent / where if where else document
        if "://" in where:
            continue
        if not target.exists():
            yield where
        elif heading and target.suffix == ".md" and heading not in _headings(target.read_text()):
            yield f"{where}#{heading}"
    for found in CODE.findall(text):
        code = "".join(found)
        yield from (name for name in FILE.findall(code) if not _is_file(name))
        yield from (name for name in MODULE.findall(code) if not _is_module(name))
        yield from (name for name in COMMAND.findall(code) if name not in {one.name for one in SUBCOMMANDS})
        if CLASS.fullmatch(code) and code not in _names_in_the_code():
            yield code


def _headings(text: str) -> set[str]:
    return {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", text, re.M)
    }


def _is_file(name: str) -> bool:
    is_no_files_name = name in MADE_UP or name.startswith("runs/")
    return is_no_files_name or any((place / name).exists() for place in (ROOT, PACKAGE))


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


@cache
def _names_in_the_code() -> frozenset[str]:
    sources = (file.read_text() for folder in (PACKAGE, ROOT / "benchmarks") for file in folder.rglob("*.py"))
    return frozenset(name for source in sources for name in re.findall(r"[A-Z]\w+", source))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document.relative_to(ROOT)))
def test_what_a_document_names_is_there(document):
    assert list(lacking(document, document.read_text())) == []


@pytest.mark.parametrize("document", DECISIONS, ids=lambda document: document.stem)
def test_a_decision_begins_with_its_number_and_whether_it_holds(document):
    title, status = document.read_text().split("\n\n", 1)
    assert re.fullmatch(rf"# {int(document.stem[:4])}\. \w.*", title)
    assert STATUS.match(status)


def test_the_readme_has_every_command_and_no_option_that_is_gone():
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n\nAll take")[0]
    rows = re.findall(r"^\| (`[a-z].*?) \| (.*) \|$", table, re.M)
    commands = {command.name: command for command in SUBCOMMANDS}
    listed = [name for names, _ in rows for name in re.findall(r"`([a-z]+)(?=[ `])", names)]
    assert set(listed) == set(commands)
    for names, words in rows:
        parser = argparse.ArgumentParser(conflict_handler="resolve")
        for name in re.findall(r"`([a-z]+)(?=[ `])", names):
            # Options that several commands of a row have are of the last of them.
            for add in commands[name].arguments:
                add(parser)
        assert set(re.findall(r"--[a-z-]+", names + words)) <= set(
            re.findall(r"--[a-z-]+", parser.format_help())
        ), names


@pytest.mark.parametrize(
    ("place", "bindings"),
    [
        ("everywhere", DatasizeApp.BINDINGS),
        ("Queue", [*QueuePane.BINDINGS, *JobTable.BINDINGS]),
        ("map of cells", CellMap.BINDINGS),
        ("Live", [*LivePane.BINDINGS, *LiveTable.BINDINGS]),
        ("Analysis", analysis.BINDINGS),
        ("charts", CHART_KEYS),
    ],
)
def test_the_readme_names_no_key_that_is_gone(place, bindings):
    table = (ROOT / "README.md").read_text().partition("## Keys")[2].partition("## Commands")[0]
    rows = re.search(rf"^\| {place} \|.*\n(?:\| \|.*\n)*", table, re.M)
    assert rows
    named = {key for row in rows[0].splitlines() for key in re.findall(r"`([^`]+)`", row.split(" | ")[1])}
    keys = {key for one in bindings for key in one.key.split(",")}
    of_lists = {"↑", "↓", "k", "j", "PgUp", "PgDn", "g", "G", "tab", "shift+tab", "ctrl+p", "esc"}
    assert named
    assert named <= keys | {key_name(key) for key in keys} | of_lists


@pytest.mark.parametrize(
    "text",
    [
        "[page](docs/gone.md)",
        "[part](docs/experiments.md#gone)",
        "`jobs/authority.py`",
        "`python -m benchmarks.gone FILE`",
        "`tui_datasize.look`",
        "`datasize-tui order letters`",
        "```sh\ndatasize-tui order letters\n```",
        "`CourseView`",
    ],
)
def test_what_is_gone_is_found(text):
    assert len(list(lacking(ROOT / "README.md", text))) == 1


def test_what_is_there_is_not_found():
    text = (
        "[page](docs/experiments.md#metrics) `stats/laws.py` `python -m benchmarks.nulls` `RunSpec` "
        "`runs/queue.db` `datasize-tui queue letters` `tui_datasize.jobs.scheduler.main`"
    )
    assert list(lacking(ROOT / "README.md", text)) == []


def test_what_the_mutants_break_is_there():
    assert all((PACKAGE / mutant.file).read_text().count(mutant.before) == 1 for mutant in MUTANTS)
