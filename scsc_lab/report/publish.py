"""A report as a folder: README.md that GitHub shows, tables for a paper, figures as PNG and PDF, a page to explore."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from scsc_lab import files
from scsc_lab.errors import InputError, last_line
from scsc_lab.records import Row
from scsc_lab.report import compose
from scsc_lab.report.compose import Notes
from scsc_lab.report.document import Grid, Picture, unfolded
from scsc_lab.report.figures import style
from scsc_lab.report.render import csv, html, latex, markdown
from scsc_lab.report.tables import Column
from scsc_lab.report.text import one_line
from scsc_lab.settings import Drawing

_DOTS_PER_INCH = 200


def _label(name: str) -> str:
    r"""Return what ``\ref`` names a table by, from the name of its file."""
    return f"tab:{re.sub(r'[^a-zA-Z0-9_.+-]', '-', name)}"


def write(
    folder: Path,
    rows: Sequence[Row],
    name: str,
    columns: Mapping[str, Column],
    notes: Notes,
    source: Path | None = None,
    options: Drawing = style.PLAIN,
    page: bool = False,
) -> list[Path]:
    """Write a report into a folder, each file whole or not at all; return their paths, README.md first.

    Args:
        folder: where they go.
        rows: rows of :func:`scsc_lab.experiments.report_rows.rows`, the run's first.
        name: what the report is called.
        columns: the columns of every metric, by word.
        notes: returns what must be known to read rows of some columns, from the rows and the columns' words.
        source: folder of the rows and of the maps that they name. Default: ``folder``.
        options: width and titles of the figures.
        page: whether ``index.html``, the same as one page to explore, is written too.

    Raises:
        InputError: if a file cannot be written, a row lacks something, or what the page needs is not installed.
    """
    document = compose.document(rows, name, columns, notes, source or folder)
    try:
        texts = {folder / "README.md": markdown.document(document)}
        for title, blocks in (
            (document.title, document.abstract),
            *((part.title, part.blocks) for part in document.sections),
        ):
            for grid in (block for block in unfolded(blocks) if isinstance(block, Grid)):
                caption = (grid.table.compact or grid.table).title or title
                texts[folder / "tables" / f"{grid.name}.tex"] = latex.of(grid.table, caption, _label(grid.name))
                if grid.in_file:
                    texts[folder / "tables" / f"{grid.name}.csv"] = csv.of_columns(grid.table)
        figures = {block.name: block.draw(options) for block in document.blocks() if isinstance(block, Picture)}
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InputError(f"the rows are not those of a report: {one_line(last_line(error))}") from None
    for path, text in texts.items():
        files.write(path, text)
    drawn = []
    for stem, figure in figures.items():
        for suffix in (".png", ".pdf"):
            drawn.append(folder / f"{stem}{suffix}")
            style.save(figure, drawn[-1], palette=True, dots_per_inch=_DOTS_PER_INCH)
    if page:
        pictures = {stem: (folder / f"{stem}.png").read_bytes() for stem in figures}
        drawn.append(folder / "index.html")
        files.write(drawn[-1], html.document(document, columns, notes, pictures))
    return [*texts, *drawn]
