"""Markdown as GitHub shows it: what is data is shown as it is, and nothing is escaped that needs no escape."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace

from scsc_lab.provenance import RunInfo
from scsc_lab.report.document import Block, Bullets, Details, Document, Grid, Paragraph, Picture
from scsc_lab.report.tables import Table
from scsc_lab.units import code_spans, one_line

_SPECIAL = re.compile(
    r"""[\\|`$]                              # escapes, cells, code and formulas, wherever they stand
    | [*~](?=\S) | (?<=\S)[*~]               # emphasis and deletions
    | (?<![^\W_])_ | _(?![^\W_])             # emphasis by underscores, which does not happen inside words
    | \](?=[\[(:])                           # the end of a link's text
    | ^\[ | ^\#(?=\#{0,5}(\s|$))             # tasks and headings, at the start of a line
    | ^[*+-](?=\s|$) | ^-(?=[\s-]*$)          # lists and rules""",
    re.VERBOSE,
)
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])|^>")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_BRACKET = re.compile(r"(\\.)|([\[\]])")
_PAGE, _WRAPPED, _RIM = 120, 36, 3
"""Characters that a page on GitHub has room for, those of a column of words, which wraps, and those between cells."""

_SHORT = 24
"""Rows of a table that shows all its columns, in further tables below where a page has no room."""

_ESCAPED = r"\\\g<0>"
_ENTITIES = {"<": "&lt;", ">": "&gt;"}


def render(table: Table, run: RunInfo) -> str:
    """Return a GitHub table, its notes below; nothing in a cell can break it."""
    return _table(table)


def _table(table: Table, page: float = math.inf) -> str:
    from tabulate import tabulate

    lines = [f"**{text(table.title)}**\n"] if table.title else []
    grids = [
        tabulate(
            [[text(cell) for cell in cells] for cells in block.cells()],
            headers=[text(column.heading) for column in block.columns],
            tablefmt="github",
            colalign=["right" if column.number else "left" for column in block.columns] if block.rows else None,
            disable_numparse=True,
        )
        for block in table.in_blocks(lambda block: _width(block) <= page)
    ]
    lines += ["\n\n".join(grids)]
    lines += [f"\n{prose(note)}" for note in table.notes]
    lines += [f"\n{_table(_fitting(detail) if page < math.inf else detail, page)}" for detail in table.details]
    return "\n".join(lines).rstrip("\n") + "\n"


def document(page: Document) -> str:
    """Return a document as GitHub shows it; its pictures are PNG files beside it."""
    parts = [f"# {text(page.title)}", *map(_block, page.abstract)]
    for section in page.sections:
        parts += [f"## {text(section.title)}", *map(_block, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return prose(block.text)
        case Bullets():
            return "\n".join(f"- {prose(item)}" for item in block.items)
        case Grid(in_file=True):
            count = f"{len(block.table.rows):,} rows"
            return f"{text(block.table.title or block.name)}: {count} in [{block.name}.csv](tables/{block.name}.csv)."
        case Grid():
            return _table(_fitting(block.table.compact or block.table), _PAGE).rstrip("\n")
        case Picture():
            return picture(f"{block.name}.png", block.caption)
        case Details():
            inner = "\n\n".join(map(_block, block.blocks))
            return f"<details>\n<summary>{html.escape(one_line(block.summary))}</summary>\n\n{inner}\n\n</details>"


def _fitting(table: Table) -> Table:
    """Return a long table, or one of words, without as many optional columns as make it wider than GitHub's page."""
    if len(table.rows) <= _SHORT and any(column.number for column in table.columns):
        return table
    fitting = table
    while _width(fitting) > _PAGE and (narrower := without_last_optional(fitting)):
        fitting = narrower
    left_out = [column.heading for column in table.columns if column not in fitting.columns]
    return fitting.noted([f"In `rows.jsonl` and not here, for width: {', '.join(left_out)}."] if left_out else [])


def without_last_optional(table: Table) -> Table | None:
    """Return the table with one optional column less, the last, or ``None`` if it has none."""
    last = next((column for column in reversed(table.columns) if column.optional), None)
    if last is None:
        return None
    return replace(table, columns=tuple(column for column in table.columns if column is not last))


def _width(table: Table) -> int:
    """Return the characters of a line; a column of words is as wide as its longest word at least."""
    lines = [[column.heading for column in table.columns], *table.cells()]
    width = 0
    for column, cells in zip(table.columns, zip(*lines, strict=True), strict=True):
        longest = max(map(len, cells))
        if not column.number:
            longest = max([min(longest, _WRAPPED), *(len(word) for cell in cells for word in cell.split())])
        width += longest + _RIM
    return width


def text(value: str) -> str:
    """Return text that Markdown shows as it is, inside a table's cell too."""
    return _escaped(one_line(value))


def prose(value: str) -> str:
    """Return a note or a paragraph, in which what stands between two backticks is code."""
    pieces = enumerate(code_spans(value))
    return "".join(code(piece) if is_code else _escaped(piece, start=not index) for index, (piece, is_code) in pieces)


def code(value: str) -> str:
    """Return a code span that nothing in the text can end, inside a table's cell too."""
    line = one_line(value).replace("|", r"\|")
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    inner = f" {line} " if longest else line
    return f"{fence}{inner}{fence}"


def picture(file: str, value: str) -> str:
    """Return a picture with its text, in which no bracket ends the text before its end."""
    return f"![{_BRACKET.sub(lambda match: match[1] or f'{chr(92)}{match[2]}', text(value))}]({file})"


def _escaped(line: str, *, start: bool = True) -> str:
    if not start:  # what is special at the start of a line only is not special here
        return _escaped(f"x{line}")[1:]
    line = _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(_ESCAPED, _ENTITY.sub("&amp;", line)))
    return _TAG.sub(lambda match: _ENTITIES[match[0]], line)
