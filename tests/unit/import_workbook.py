"""Workbooks as Excel stores them, with the least that they need."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PARTS = "http://schemas.openxmlformats.org/package/2006"
_TYPES = (
    f'<Types xmlns="{_PARTS}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
)


def workbook(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    """The bytes of a workbook; cells are texts, numbers, or None for none."""
    names = [*enumerate(sheets, 1)]
    listed = "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, name in names)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _links([("r", "officeDocument", "xl/workbook.xml")]))
        book = f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>'
        archive.writestr("xl/workbook.xml", book)
        links = _links([(f"r{i}", "worksheet", f"worksheets/sheet{i}.xml") for i, _ in names])
        archive.writestr("xl/_rels/workbook.xml.rels", links)
        for i, rows in enumerate(sheets.values(), 1):
            cells = "".join(f'<row r="{n}">{_row(row, n)}</row>' for n, row in enumerate(rows, 1))
            sheet = f"<worksheet {_MAIN}><sheetData>{cells}</sheetData></worksheet>"
            archive.writestr(f"xl/worksheets/sheet{i}.xml", sheet)
    return out.getvalue()


def _links(links: Sequence[tuple[str, str, str]]) -> str:
    each = (f'<Relationship Id="{i}" Type="{_OFFICE}/{kind}" Target="{to}"/>' for i, kind, to in links)
    return f'<Relationships xmlns="{_PARTS}/relationships">{"".join(each)}</Relationships>'


def _row(values: Sequence[object], number: int) -> str:
    return "".join(_cell(value, f"{chr(65 + i)}{number}") for i, value in enumerate(values))


def _cell(value: object, at: str) -> str:
    if isinstance(value, str):
        return f'<c r="{at}" t="inlineStr"><is><t>{value}</t></is></c>'
    return "" if value is None else f'<c r="{at}"><v>{value!r}</v></c>'
