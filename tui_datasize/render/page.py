"""Blocks as one self-contained file, HTML or Markdown; every text is escaped, nothing is loaded."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence

from tui_datasize.render.blocks import Block, Figure, HeadingBlock, Paragraph
from tui_datasize.render.cells import NUMBER, Written
from tui_datasize.render.svg import picture
from tui_datasize.render.svg_map import escaped
from tui_datasize.text import visible

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; margin: .8rem 0 1.2rem; font-variant-numeric: tabular-nums;
        display: block; overflow-x: auto }
.caption { font-weight: 600; margin: 1.2rem 0 -.4rem }
th, td { padding: .12rem .7rem .12rem 0; text-align: right; vertical-align: top; overflow-wrap: anywhere }
th { border-bottom: 1px solid #999 } .l { text-align: left }
td:not(.l) { white-space: nowrap }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0 }
figure { margin: 1rem 0 } figure svg { max-width: 100%; height: auto } figcaption { color: #444 }
.error { color: #a40000; font-weight: 600 } .warning { color: #8a5a00; font-weight: 600 }
.note { color: #555; font-weight: 600 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #16191d } figcaption, .note { color: #aaa }
  .error { color: #ff8a80 } .warning { color: #f0b429 } h2 { border-color: #444 }
}
@media print { body { margin: 0; max-width: none } figure, table { break-inside: avoid } }
"""


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """A page that stands alone: inline style, inline SVG, and a policy that forbids to load anything."""
    body = "\n".join(part for block in blocks for part in _html(block))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def to_markdown(blocks: Sequence[Block]) -> str:
    """The same in Markdown; charts are pictures within the text (data URIs)."""
    return "\n\n".join("\n".join(_markdown(block)) for block in blocks) + "\n"


def _html(block: Block) -> Iterator[str]:
    match block:
        case HeadingBlock(text, level):
            yield f"<h{level}>{escaped(text)}</h{level}>"
        case Paragraph(text, kind):
            head = f'<span class="{escaped(kind)}">{escaped(kind)}:</span> ' if kind else ""
            yield f"<p>{head}{_strong(text)}</p>"
        case Figure(chart, caption):
            yield f"<figure>\n{picture(chart)}\n<figcaption>{escaped(caption)}</figcaption>\n</figure>"
        case Written(caption, columns, rows, left, _, is_folded):
            if is_folded:
                yield f"<details><summary>{escaped(caption or 'More')}</summary>"
            elif caption:
                yield f'<p class="caption">{escaped(caption)}</p>'
            yield "<table>"
            yield f"<thead>{_html_row(columns, 'th', left)}</thead>\n<tbody>"
            yield from (_html_row(row, "td", left) for row in rows)
            yield "</tbody>\n</table>"
            if is_folded:
                yield "</details>"


def _strong(text: str) -> str:
    """A sentence whose numbers stand out."""
    parts, end = [], 0
    for number in NUMBER.finditer(text):
        parts += [escaped(text[end : number.start()]), f"<b>{escaped(number[0])}</b>"]
        end = number.end()
    return "".join([*parts, escaped(text[end:])])


def _html_row(cells: Sequence[str], tag: str, left: int) -> str:
    opened = (f'<{tag} class="l">', f"<{tag}>")
    inner = (f"{opened[place >= left]}{escaped(cell)}</{tag}>" for place, cell in enumerate(cells))
    return f"<tr>{''.join(inner)}</tr>"


def _markdown(block: Block) -> Iterator[str]:
    match block:
        case HeadingBlock(text, level):
            yield f"{'#' * level} {_plain(text)}"
        case Paragraph(text, kind):
            yield f"**{_plain(kind)}:** {_plain(text)}" if kind else _plain(text)
        case Figure(chart, caption):
            data = base64.b64encode(picture(chart).encode()).decode()
            yield f"![{_plain(chart.title)}](data:image/svg+xml;base64,{data})\n\n*{_plain(caption)}*"
        case Written(caption, columns, rows, left):
            if caption:
                yield f"**{_plain(caption)}**\n"
            yield _markdown_row(columns)
            yield f"|{'|'.join(':--' if place < left else '--:' for place in range(len(columns)))}|"
            yield from (_markdown_row(row) for row in rows)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """Text in which Markdown and HTML see nothing but text, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!])", r"\\\1", visible(" ".join(text.split())))
