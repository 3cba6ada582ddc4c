"""A table for people at a terminal: to its width, in full and plain where the output is piped."""

from __future__ import annotations

import io
import textwrap
from dataclasses import replace
from typing import IO, Literal

from scsc_lab.provenance import RunInfo
from scsc_lab.report.tables import Table
from scsc_lab.units import one_line

_PIPED_WIDTH = 1000
_LINE = 80
_READABLE = 20
"""Letters that a column of words has at least, or an optional column is left out."""

_LEAST = 8
"""Letters that a column of words has at least, or the last columns stand in a further block below."""


def render(table: Table, run: RunInfo) -> str:
    """Return the table as it is printed when piped."""
    buffer = io.StringIO()
    print_table(table, buffer)
    return buffer.getvalue()


def print_table(table: Table, file: IO[str]) -> None:
    """Print a table for people: to the width of a terminal, in full and plain where the output is piped."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH

    def drawn(table: Table, text_width: int = _LEAST) -> RichTable:
        grid = RichTable(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
        )
        rows = [[one_line(cell) for cell in cells] for cells in table.cells()]
        for index, column in enumerate(table.columns):
            justify: Literal["right", "left"] = "right" if column.number else "left"
            heading = one_line(column.heading)
            widest = max(map(cell_len, (heading, *(cells[index] for cells in rows))))
            least = widest if column.number else min(widest, text_width)
            grid.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=column.number, min_width=least)
        for cells in rows:
            grid.add_row(*(Text(cell) for cell in cells))
        return grid

    unbounded = console.options.update(max_width=_PIPED_WIDTH)  # measured in the terminal's width, all fits it

    def fits(table: Table, text_width: int) -> bool:
        return console.measure(drawn(table, text_width), options=unbounded).minimum <= console.width

    while not fits(table, _READABLE) and (narrower := _without_last_optional(table)):
        table = narrower
    if table.title:
        console.print(Text(one_line(table.title), style="bold"))
    widest = 0
    for number, block in enumerate(table.in_blocks(lambda block: fits(block, _LEAST))):
        if number:
            console.print()
        grid = drawn(block)
        console.print(grid)
        widest = max(widest, console.measure(grid).maximum)
    width = console.width if console.is_terminal else max(_LINE, widest)
    for note in table.notes:
        lines = textwrap.fill(one_line(note), width, subsequent_indent="  ", break_long_words=False)
        console.print(Text(lines, style="dim"))
    for detail in table.details:
        console.print()
        print_table(detail, file)


def _without_last_optional(table: Table) -> Table | None:
    """Return the table with one optional column less, the last, or ``None`` if it has none."""
    last = next((column for column in reversed(table.columns) if column.optional), None)
    if last is None:
        return None
    return replace(table, columns=tuple(column for column in table.columns if column is not last))
