"""A table as text: for the terminal, Markdown, CSV, JSON or LaTeX. One function a format."""

from __future__ import annotations

import io
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

from scsc_lab import store
from scsc_lab.errors import InputError, nearest
from scsc_lab.provenance import RunInfo
from scsc_lab.records import SCHEMA
from scsc_lab.report.tables import Column, Table

SUFFIXES = {".txt": "table", ".md": "markdown", ".csv": "csv", ".json": "json", ".tex": "latex"}
"""Format by a file's suffix."""

_PIPED_WIDTH = 1000
_LINE = 80
_READABLE = 20
_MARKDOWN_SPECIAL = re.compile(r"[\\|<>`*\[\]]|(?<![^\W_])_|_(?![^\W_])|^[#+-](?=\s)")


def choose(name: str | None, output: Path | None) -> str:
    """Return the format asked for: by name, else by the file's suffix, else ``table``; to be asked before measuring.

    Raises:
        InputError: if there is no such format, a suffix says nothing, or the file cannot be written.
    """
    if name is not None and name not in FORMATS:
        raise InputError(f"unknown format {name!r}: one of {', '.join(FORMATS)}{nearest(name, FORMATS)}")
    if output is None:
        return name or "table"
    if name is None and output.suffix not in SUFFIXES:
        raise InputError(
            f"cannot tell a format from the suffix of {str(output)!r}: use {', '.join(SUFFIXES)} or --format"
        )
    store.check_writable(output)
    return name or SUFFIXES[output.suffix]


def emit(table: Table, run: RunInfo, name: str | None = None, output: Path | None = None) -> None:
    """Print a table in a format, or write it to a file whole or not at all.

    Raises:
        InputError: if the format is unknown or the file cannot be written; the table is printed then.
    """
    try:
        chosen = choose(name, output)
        if output is not None:
            store.write(output, FORMATS[chosen](table, run))
            return
    except InputError:
        print_table(table, sys.stdout)
        raise
    if chosen == "table":
        print_table(table, sys.stdout)
    else:
        text = FORMATS[chosen](table, run)
        if chosen == "json" and not (sys.stdout.encoding or "").lower().startswith("utf"):
            text = re.sub(r"[^\x00-\x7f]", lambda match: json.dumps(match[0])[1:-1], text)
        print(text, end="")


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

    def drawn(table: Table, text_width: int = 0) -> RichTable:
        grid = RichTable(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
        )
        rows = table.cells()
        for index, column in enumerate(table.columns):
            justify: Literal["right", "left"] = "right" if column.number else "left"
            widest = max(map(cell_len, (column.heading, *(cells[index] for cells in rows))))
            least = widest if column.number else min(widest, text_width) or None
            grid.add_column(
                Text(column.heading), justify=justify, overflow="fold", no_wrap=column.number, min_width=least
            )
        for cells in rows:
            grid.add_row(*(Text(cell) for cell in cells))
        return grid

    unbounded = console.options.update(max_width=_PIPED_WIDTH)  # measured in the terminal's width, all fits it
    while narrower := _without_last_optional(table):
        if console.measure(drawn(table, _READABLE), options=unbounded).minimum <= console.width:
            break
        table = narrower
    grid = drawn(table)
    if table.title:
        console.print(Text(table.title, style="bold"))
    console.print(grid)
    width = console.width if console.is_terminal else max(_LINE, console.measure(grid).maximum)
    for note in table.notes:
        console.print(Text(textwrap.fill(note, width, subsequent_indent="  ", break_long_words=False), style="dim"))
    for detail in table.details:
        console.print()
        print_table(detail, file)


def _without_last_optional(table: Table) -> Table | None:
    """Return the table with one optional column less, the last, or ``None`` if it has none."""
    last = next((column for column in reversed(table.columns) if column.optional), None)
    if last is None:
        return None
    return replace(table, columns=tuple(column for column in table.columns if column is not last))


def to_table(table: Table, run: RunInfo) -> str:
    """Return the table as it is printed when piped."""
    buffer = io.StringIO()
    print_table(table, buffer)
    return buffer.getvalue()


def to_markdown(table: Table, run: RunInfo) -> str:
    """Return a GitHub table; nothing in a cell can break it."""
    from tabulate import tabulate

    lines = [f"**{markdown_text(table.title)}**\n"] if table.title else []
    lines.append(
        tabulate(
            [[markdown_text(cell) for cell in cells] for cells in table.cells()],
            headers=[markdown_text(column.heading) for column in table.columns],
            tablefmt="github",
            colalign=_alignments(table.columns) if table.rows else None,
            disable_numparse=True,
        )
    )
    lines += [f"\n{markdown_text(note)}" for note in table.notes]
    lines += [f"\n{to_markdown(detail, run)}" for detail in table.details]
    return "\n".join(lines).rstrip("\n") + "\n"


def to_csv(table: Table, run: RunInfo) -> str:
    """Return the rows with raw numbers, one column for every key that any row has."""
    import pandas

    rows = [{key: _scalar(value) for key, value in row.items()} for row in table.raw]
    return str(pandas.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def to_json(table: Table, run: RunInfo) -> str:
    """Return ``{"schema", "run", "rows"}`` with raw numbers."""
    document = {"schema": SCHEMA, "run": run.row(), "rows": list(table.raw), "notes": list(table.notes)}
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_latex(table: Table, run: RunInfo) -> str:
    """Return a booktabs table; a comment behind each row carries its raw numbers."""
    from tabulate import tabulate

    text = tabulate(
        table.cells(),
        headers=[column.heading for column in table.columns],
        tablefmt="latex_booktabs",
        colalign=_alignments(table.columns) if table.rows else None,
        disable_numparse=True,
    )
    comments = ["% " + json.dumps(row, ensure_ascii=True, allow_nan=False) for row in table.rows]
    notes = [f"% {note}" for note in (table.title, *table.notes) if note]
    lines = [text.translate(_LATEX_SYMBOLS), *notes, "% raw numbers, one row a line:", *comments]
    lines += [to_latex(detail, run) for detail in table.details]
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Table, RunInfo], str]] = {
    "table": to_table,
    "markdown": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
"""Every output format by name."""

_LATEX_SYMBOLS = str.maketrans({"×": r"$\times$", "−": r"$-$", "Δ": r"$\Delta$"})


def markdown_text(text: str) -> str:
    """Return text that Markdown shows as it is, inside a table cell too."""
    return _MARKDOWN_SPECIAL.sub(r"\\\g<0>", " ".join(text.split())).replace(r"\<", "&lt;").replace(r"\>", "&gt;")


def _alignments(columns: tuple[Column, ...]) -> list[str]:
    return ["right" if column.number else "left" for column in columns]


def _scalar(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else value
