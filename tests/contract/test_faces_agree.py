"""Every face says the same of every question: numbers are read from what each of them prints."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import fake_sweep, write_run
from tests.tui.fake_queue import FakeQueue
from tests.tui.stage import Stage
from tui_datasize.answers.catalogue import QUESTIONS, Entry
from tui_datasize.answers.record import Record
from tui_datasize.cli import tables
from tui_datasize.cli.dispatch import main
from tui_datasize.experiments.spec import ModelSpec
from tui_datasize.render import cells
from tui_datasize.render import page as report_page
from tui_datasize.runlog.paths import ProjectPaths

PROJECTS = ("sweep", "variants", "imported")
TALL = (160, 110)
"""A terminal in which everything fits into a dialog."""
_BEGINNING = 15
"""Letters of a headline that stand in one line however narrow its panel is."""
FIRST = "hidden=16"
"""The variant that the app shows first."""
_SCALES = {"share": 100, "points": 100}
_MOST_ROWS = cells.MOST_ROWS
_OF_PRINTING = frozenset({"all", "columns", "command", "force", "format", "json", "output", "table"})


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ProjectPaths]]:
    """A sweep, two variants one of whose runs lacks its train scores, and a table from elsewhere."""
    made = {name: ProjectPaths(tmp_path_factory.mktemp(name)) for name in PROJECTS}
    for project in made.values():
        project.runs.mkdir()
    for spec in fake_sweep(sizes=(40, 80, 160, 320)):
        write_run(made["sweep"], spec)
    made["sweep"].experiments.write_text('[costs]\nlabel = 0.08\ngpu_hour = 1.2\ncurrency = "EUR"\n')
    for hidden in (16, 32):
        model = ModelSpec("mlp", {"hidden": hidden})
        for spec in fake_sweep(sizes=(40, 80, 160), subset_seeds=[0], model=model):
            paths = write_run(made["variants"], spec, accuracy=0.5 + spec.train_size / 500 + hidden / 1000)
            if spec.seed == 101 and spec.train_size == 160:
                _lose_train_scores(paths.metrics)
    rows = "".join(
        f"{n},{s},{0.97 - 3 * n**-0.6 + s / 1000:.4f}\n" for n in (200, 400, 800, 1600) for s in (0, 1, 2)
    )
    file = made["imported"].root / "a.csv"
    file.write_text(f"size,seed,test_accuracy\n{rows}")
    assert main(["import", "digits", str(file), "--project", str(made["imported"].root)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "record_of", once_for_all_faces(tables.record_of))
        patch.setattr(tables, "with_sweep", once_for_all_faces(tables.with_sweep))
        patch.setattr(Entry, "ask", cache(Entry.ask))
        yield made


def once_for_all_faces(make: Callable[..., Record]) -> Callable[..., Record]:
    """Of the same options one record, of which each answer is computed once; those of printing aside."""
    made: dict[object, Record] = {}

    def once(*given: Any) -> Record:
        *before, arguments = given
        asks = {name: str(value) for name, value in vars(arguments).items() if name not in _OF_PRINTING}
        key = (*before, *sorted(asks.items()))
        if key not in made:
            made[key] = make(*given)
        return made[key]

    return once


def _lose_train_scores(metrics: Path) -> None:
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    kept = [row for row in rows if row.get("split") != "train" or row["event"] != "evaluation"]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in kept))


@dataclass(frozen=True)
class Section:
    """What one face prints of one question."""

    words: str
    """Everything, its white space as single spaces."""
    rows: Sequence[Sequence[str]]
    """Cells of all tables, heads left out."""


def asked(project: ProjectPaths, *words: str) -> list[str]:
    return [*words, "--target", "70", "--project", str(project.root)]


@cache
def answers(project: ProjectPaths) -> list[dict[str, Any]]:
    """The answers for programs."""
    with redirect_stdout(StringIO()) as out:
        assert main(asked(project, "analyze", "digits", "--json")) == 0
    found: list[dict[str, Any]] = json.loads(out.getvalue())["answers"]
    return found


def markdown(project: ProjectPaths) -> dict[str, Section]:
    file = project.root / "page.md"
    assert main(asked(project, "report", "digits", "-o", str(file))) == 0
    sections = {}
    for part in re.split(r"^## ", file.read_text(), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("|") and not line.startswith("|:")]
        lines = [line for line in lines if not re.fullmatch(r"\|[-:|]+\|", line)]
        rows = [[_plain(cell) for cell in line.strip("|").split(" | ")] for line in lines]
        sections[_plain(title)] = Section(_plain(body), rows)
    return sections


def html(project: ProjectPaths) -> dict[str, Section]:
    file = project.root / "page.html"
    assert main(asked(project, "report", "digits", "-o", str(file))) == 0
    sections = {}
    for part in re.split(r"<h2>", file.read_text())[1:]:
        title, _, body = part.partition("</h2>")
        rows = [
            [_tagless(cell) for cell in re.findall(r"<td.*?</td>", row)]
            for row in re.findall(r"<tr>.*?</tr>", body)
        ]
        sections[_tagless(title)] = Section(_tagless(re.sub(r"<svg.*?</svg>", "", body, flags=re.S)), rows)
    return sections


def console(project: ProjectPaths, capsys: pytest.CaptureFixture[str]) -> dict[str, Section]:
    capsys.readouterr()
    assert main(asked(project, "analyze", "digits", "--all")) == 0
    text = "Answer\n" + capsys.readouterr().out
    titles = {entry.title for entry in QUESTIONS.values()}
    found: dict[str, list[str]] = {}
    here: list[str] = []
    for line in text.splitlines():
        if line in titles and line not in found:
            here = found.setdefault(line, [])
        else:
            here.append(line)
    return {
        title: Section(" ".join(" ".join(lines).split()), [line.split() for line in lines])
        for title, lines in found.items()
    }


def _tagless(text: str) -> str:
    # Numbers in bold are within their sentence.
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"</?b>", "", text))).split())


def _plain(text: str) -> str:
    return " ".join(re.sub(r"\\(.)", r"\1", text).split())


def numbers(text: str) -> list[float]:
    """Every number of a text, thousands without their commas."""
    return [float(found.replace(",", "")) for found in re.findall(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?", text)]


def check_words(answer: dict[str, Any], section: Section) -> None:
    """A face says every sentence of an answer, and so every number in it."""
    for sentence in (answer["headline"], *(one["text"] for one in answer["sentences"])):
        assert " ".join(sentence.split()) in section.words, (answer["name"], sentence)


def check_tables(answer: dict[str, Any], section: Section) -> None:
    """The numbers in the cells of a face are those of the answer, to their last digit."""
    printed = [row for row in section.rows if row]
    for table in answer["tables"]:
        columns = [column for column in table["columns"] if column["kind"] not in ("text",)]
        for row in table["rows"][:_MOST_ROWS]:
            wanted = [value for column in columns for value in _values(row[column["name"]], column["kind"])]
            known = [value for value in wanted if value is not None]
            assert any(_holds(known, cells_) for cells_ in printed), (answer["name"], row)


def _values(value: Any, kind: str) -> list[float | None]:
    """The numbers of a cell; several of one that holds a mean with its interval."""
    if kind == "cell" and value is not None:
        return [
            _shown(value["mean"], "value"),
            _shown(value["half"], "spread"),
            _shown(value["n_runs"], "count"),
        ]
    return [_shown(value, kind)]


def _shown(value: Any, kind: str) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # The metric of every project here is a share.
    of_metric = kind in ("value", "difference", "spread")
    return value * (100 if of_metric else _SCALES.get(kind, 1))


def _holds(wanted: Sequence[float], printed: Sequence[str]) -> bool:
    """Whether a printed row has these numbers in this order, as far as its digits go."""
    row = iter([word.strip("±()*") for cell in printed for word in cell.split()])
    return all(any(_is(value, cell) for cell in row) for value in wanted)


def _is(value: float, cell: str) -> bool:
    if cell.startswith("<"):
        return value < float(cell[1:])
    found = re.fullmatch(r"[+-]?\d[\d,]*(?:\.(\d+))?(?:e[+-]?\d+)?", cell)
    if not found:
        return False
    number = float(cell.replace(",", ""))
    return math.isclose(
        number, value, rel_tol=5.01e-3 if "e" in cell or "." not in cell else 5e-4, abs_tol=0.00501
    )


@pytest.mark.parametrize("name", PROJECTS)
def test_console_markdown_html_and_json_say_the_same(projects, capsys, name):
    project = projects[name]
    reference = answers(project)
    faces = {"console": console(project, capsys), "markdown": markdown(project), "html": html(project)}
    for answer in reference:
        for face, sections in faces.items():
            if not answer["headline"]:
                assert answer["title"] not in sections or face == "console"
                continue
            check_words(answer, sections[answer["title"]])
            check_tables(answer, sections[answer["title"]])
    assert sum(bool(answer["headline"]) for answer in reference) >= 6


def test_what_a_table_exports_is_what_is_said(projects, capsys):
    reference = {answer["name"]: answer for answer in answers(projects["sweep"])}
    arguments = ["export", "--table", "answer", "--experiment", "digits", "--format", "json"]
    assert main(asked(projects["sweep"], *arguments)) == 0
    (row,) = json.loads(capsys.readouterr().out)
    said = numbers(reference["answer"]["headline"])
    assert row["train_size"] == said[0]
    assert said[1] == pytest.approx(100 * row["mean"], abs=0.0501)
    target = next(one["text"] for one in reference["answer"]["sentences"] if one["text"].startswith("70 %"))
    assert (row["images_low"], row["images_high"]) == (160, 320)
    assert {160.0, 320.0} <= set(numbers(target))


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("table", ["curve", "plan", "variance", "ensembles"])
def test_what_is_exported_holds_every_row_that_is_said(projects, capsys, table, name):
    (said,) = (one for one in answers(projects[name]) if one["name"] == table)
    words = ["export", "--table", table, "--experiment", "digits", "--format", "json"]
    status = main(asked(projects[name], *words))
    exported = json.loads(capsys.readouterr().out) if status == 0 else []
    for shown in said["tables"]:
        names = [column["name"] for column in shown["columns"] if column["kind"] not in ("text", "cell")]
        known = [one for one in names if exported and one in exported[0]]
        for row in shown["rows"]:
            assert not known or any(all(_equal(row[one], other[one]) for one in known) for other in exported)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, int | float) and isinstance(second, int | float):
        return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)
    return first == second or {first, second} <= {None, 0}


@pytest.mark.parametrize("wrong", ["a digit", "a sentence"])
def test_a_printer_that_is_wrong_is_noticed(projects, monkeypatch, wrong):
    (curve,) = (one for one in answers(projects["sweep"]) if one["name"] == "curve")
    if wrong == "a digit":
        right = cells.cell
        monkeypatch.setattr(cells, "cell", lambda *given: right(*given).replace("6", "9"))
        with pytest.raises(AssertionError):
            check_tables(curve, markdown(projects["sweep"])["Learning curve"])
    else:
        monkeypatch.setattr(report_page, "_plain", lambda text: text.replace("6", "9"))
        with pytest.raises(AssertionError):
            check_words(curve, markdown(projects["sweep"])["Learning curve"])


@pytest.mark.long
@pytest.mark.parametrize("name", PROJECTS)
async def test_the_app_says_the_same(projects, name) -> None:
    project = projects[name]
    project.experiments.touch()
    reference = {answer["title"]: answer for answer in answers(project)}
    async with Stage(project, FakeQueue()).open(TALL) as show:
        await show.press("3", "t", *"70", "enter")
        await show.shows("70 %: ")
        for title in ["Answer", *(title for title in pages() if reference[title]["headline"])]:
            if title != "Answer":
                await turn_to(show, title)
            answer = reference[title]
            part = answer | {"tables": [table for table in answer["tables"] if not table["is_detail"]]}
            if name == "variants":
                part = of_first(part)
            # Beside the chart stands when it has been computed.
            await show.shows(part["headline"][:_BEGINNING])
            await show.press("i")
            await show.until(lambda: show.app.screen.is_modal)
            # To read such a screen takes longer than all else here.
            text = show.text
            assert f"╭─ {title}" in text
            section = in_dialog(text)
            check_words(part, section)
            check_tables(part, section)
            await show.press("escape")


def of_first(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says of its first variant: a page of the app is of one, where a question can be."""
    if answer["name"] in ("answer", "variants"):
        return answer
    said = [answer["headline"], *(one["text"] for one in answer["sentences"])]
    own = [text.removeprefix(f"{FIRST}: ") for text in said if text.startswith(f"{FIRST}: ")]
    tables = [
        table | {"rows": [row for row in table["rows"] if row["variant"] == FIRST]}
        for table in answer["tables"]
        if table["rows"] and "variant" in table["rows"][0]
    ]
    return answer | {
        "headline": own[0] if own else "",
        "sentences": [{"text": text} for text in own[1:]],
        "tables": tables,
    }


def in_dialog(text: str) -> Section:
    """What stands between the edges of the dialog, without what is seen beside it."""
    lines = text.splitlines()
    top = next(row for row, line in enumerate(lines) if "╭─" in line)
    left, right = lines[top].index("╭─"), lines[top].index("╮")
    inside = [line[left + 1 : right] for line in lines[top + 1 :]]
    return Section(" ".join(" ".join(inside).split()), [line.split() for line in inside])


def pages() -> Iterator[str]:
    yield from (entry.title for entry in QUESTIONS.values() if entry.has_page)


async def turn_to(show: Any, title: str) -> None:
    """The next page until it is the one."""
    for _ in range(30):
        await show.press("p")
        if f"─ {title}" in show.text:
            return
