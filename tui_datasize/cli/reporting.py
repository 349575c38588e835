"""`report`: an experiment as one page."""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime

import tui_datasize
from tui_datasize.cli.basics import talk
from tui_datasize.cli.tables import record_of, with_sweep
from tui_datasize.errors import EXIT_OK, ConfigError
from tui_datasize.render.blocks import contents
from tui_datasize.render.page import to_html, to_markdown
from tui_datasize.runlog.outputs import refuse_output, write_output
from tui_datasize.text import plural

_HTML = (".html", ".htm")
_MARKDOWN = (".md", ".markdown")


def report(arguments: argparse.Namespace) -> int:
    """Write the page.

    Raises:
        ConfigError: The file is neither HTML nor Markdown, or the experiment has no runs.
        StorageError: It cannot be written.
    """
    file = arguments.output
    suffix = file.suffix.lower()
    if suffix not in (*_HTML, *_MARKDOWN):
        raise ConfigError(f"no report of the kind {suffix!r}", where=str(file), fix="name it .html or .md")
    own = _HTML if suffix in _HTML else _MARKDOWN
    refuse_output(file, suffixes=own, force=arguments.force)
    record = with_sweep(record_of(arguments), arguments)
    page = {
        "this page": f"datasize-tui {tui_datasize.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command of this page": shlex.join(["datasize-tui", *sys.argv[1:]]),
    }
    blocks = contents(record, page)
    text = (
        to_html(f"{arguments.experiment}, {arguments.metric}", blocks)
        if suffix in _HTML
        else to_markdown(blocks)
    )
    write_output(file, text.encode(), suffixes=own, force=arguments.force)
    for problem in record.log.problems:
        talk(str(problem))
    talk(f"{file}: {plural(record.all_runs.height, 'run')}")
    return EXIT_OK
