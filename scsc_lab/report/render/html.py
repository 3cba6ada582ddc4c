"""HTML: one page that needs no network, whose tables sort and filter, and whose plots are Plotly's."""

from __future__ import annotations

import base64
import gzip
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scsc_lab import units
from scsc_lab.errors import InputError
from scsc_lab.records import Row
from scsc_lab.report import tables
from scsc_lab.report.document import Document, Grid, Notes, Picture
from scsc_lab.report.findings import FIELD
from scsc_lab.report.render import latex, plots
from scsc_lab.report.tables import Column, Table
from scsc_lab.units import code_spans, one_line

_TEMPLATES = Path(__file__).with_name("templates")
_NEEDED = ("jinja2", "plotly")
_MOST_CHANGES = 6000
"""Networks times baselines to choose from: what keeps the page of hundreds of networks small."""

_DOTS_A_PIXEL, _WIDEST = 1.45, 704

_SETTINGS = {
    "time": ("batch", "threads", "dtype", "device", "device_name", "compile", "seed"),
    "field": ("weights", "image_kind", "images", "initialisations"),
    "count": ("batch",),
}
"""Keys of a row that say how its numbers of a kind were measured."""


def check() -> None:
    """Raise InputError if what the page is made with is not installed; to be asked before anything is measured."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise InputError(f"--html needs {' and '.join(missing)}: pip install 'scsc-lab[html]'")


def document(page: Document, columns: Mapping[str, Column], notes: Notes, pictures: Mapping[str, bytes]) -> str:
    """Return a document as one page; the same document gives the same page.

    Plotly is carried as gzip, which the browser unpacks: the page is smaller by half, and its text is there at once.

    Args:
        page: the document.
        columns: the columns of every metric, by word: what a column's numbers are, and how they change.
        notes: returns what must be known to read rows of some columns, from the rows and the columns' words.
        pictures: the document's pictures as PNG, by name.

    Raises:
        InputError: if jinja2 or plotly is not installed.
    """
    check()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    grids = [block for block in page.blocks() if isinstance(block, Grid)]
    described = dict(entry for grid in grids for entry in _described(grid.name, grid.table, columns, notes))
    networks = next((grid for grid in grids if _compared(grid.table)), None)
    data = {
        "tables": described,
        "plot": None if networks is None else plots.networks(networks.table, columns, settings),
        "plotted": networks and networks.name,
        "behind": {
            block.name: plots.behind(block.behind)
            for block in page.blocks()
            if isinstance(block, Picture) and block.behind is not None
        },
        "latex": {sign: latex.text(sign) for sign in sorted(_signs(described)) if latex.text(sign) not in (sign, "")},
    }
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"spans": code_spans, "line": one_line, "kind": lambda block: type(block).__name__}
    return environment.get_template("page.html").render(
        page=page,
        data=data,
        pictures={name: (base64.b64encode(png).decode(), _width(png)) for name, png in pictures.items()},
        places={one_line(section.title): number for number, section in enumerate(page.sections, start=1)},
        plotly=base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode(),
    )


def _width(png: bytes) -> int:
    """Return how wide a picture is shown, in pixels of a page: larger than on paper, for letters of 7 points."""
    return round(int.from_bytes(png[16:20]) / _DOTS_A_PIXEL) or _WIDEST


def _described(
    name: str, table: Table, columns: Mapping[str, Column], notes: Notes
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a table and its details by name: what the page's script must know of them."""
    keys = [list(column.keys) for column in table.columns]
    yield (
        name,
        {
            "columns": [
                {
                    "heading": one_line(heading),
                    "keys": names,
                    "number": column.number,
                    "optional": column.optional,
                    "how": _how(column, table, columns, notes),
                    "kind": _kind(column, columns),
                }
                for column, heading, names in zip(table.columns, latex.headings(table.columns), keys, strict=True)
            ],
            "cells": [[one_line(cell) for cell in cells] for cells in table.cells()],
            "raw": [[[_raw(row.get(key)) for key in names] for names in keys] for row in table.rows],
            "names": [one_line(str(row.get("model") or row.get("variant") or "")) for row in table.rows],
            "settings": {kind: [settings(row, kind) for row in table.rows] for kind in _SETTINGS},
            "baselines": _baselines(table, columns) if _compared(table) else [],
        },
    )
    for number, detail in enumerate(table.details):
        yield from _described(f"{name}_{number}", detail, columns, notes)


def _raw(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float)) else one_line(units.plain(value))


def _kind(column: Column, columns: Mapping[str, Column]) -> str:
    """Return whether a column is of times, of receptive fields, or of counts and all else."""
    for candidate in columns.values():
        if column.key == candidate.key or (candidate.change and column.key == candidate.change.column.key):
            return "time" if candidate.is_timed else "field" if str(candidate.key) in FIELD else "count"
    return "count"


def settings(row: Row, kind: str = "") -> str:
    """Return how a row's numbers, all or those of a kind, were measured: ``input 224×224, batch 1, threads 2``."""
    keys = _SETTINGS[kind] if kind else dict.fromkeys(key for kinds in _SETTINGS.values() for key in kinds)
    facts = [f"{key.replace('_', ' ')} {row[key]}" for key in keys if row.get(key) not in (None, False)]
    if row.get("resolution"):
        facts.insert(0, f"input {units.size(row['resolution'])}")
    return one_line(", ".join(facts))


def _compared(table: Table) -> bool:
    """Return whether a table is of networks and their baselines."""
    models = {row.get("model") for row in table.rows}
    return bool(table.rows) and all("resolution" in row and row.get("baseline") in models for row in table.rows)


def _how(column: Column, table: Table, columns: Mapping[str, Column], notes: Notes) -> list[str]:
    """Return how a column's numbers were obtained, in lines: its meaning, then its metric's notes or the table's."""
    studied = bool(table.rows) and all("baseline" in row or "variant" in row for row in table.rows)
    for candidate in columns.values():
        change = candidate.change
        if candidate.key == column.key:
            direction = {"lower": "less is better", "higher": "more is better"}.get(candidate.better, "")
            meaning = ": ".join(filter(None, (candidate.axis_label, direction)))
        elif change is not None and change.column.key == column.key:
            against = "the full module" if any("variant" in row for row in table.rows) else "the baseline"
            meaning = {
                "ratio": f"the change of {candidate.heading} as a fraction of that of {against}",
                "difference": f"the difference of {candidate.heading} to that of {against}",
                "measured": f"{candidate.heading} as a multiple of that of {against}, measured side by side",
            }[change.how]
        else:
            continue
        return [meaning, *map(_plain, notes(table.rows, [candidate.word]) if studied else table.notes)]
    return list(map(_plain, table.notes))


def _plain(prose: str) -> str:
    """Return prose without its mark-up."""
    return "".join(piece for piece, _ in code_spans(prose))


def _baselines(table: Table, columns: Mapping[str, Column]) -> list[dict[str, Any]]:
    """Return every baseline that can be chosen, with the cells of all changes against it, by column, then by row.

    Networks of other input sizes have no change against it. A ratio that was measured side by side stays, with its
    interval; against another network it is the quotient of the two numbers, marked with ``≈``, without one.
    """
    rows = list(table.rows)
    places = {column.key: index for index, column in enumerate(table.columns)}
    changing = [
        candidate
        for candidate in columns.values()
        if candidate.change is not None and candidate.change.column.key in places
    ]
    if not changing:
        return []
    baselines = {str(row["baseline"]) for row in rows}
    order = sorted(range(len(rows)), key=lambda index: str(rows[index]["model"]) not in baselines)
    choices = []
    for chosen in sorted(order[: max(_MOST_CHANGES // len(rows), 1)]):
        changed = tables.with_changes(rows, changing, chosen)
        cells = {
            str(places[candidate.change.column.key]): [_change(candidate, row, rows[chosen]) for row in changed]
            for candidate in changing
            if candidate.change is not None
        }
        label = f"{rows[chosen]['model']}, {units.size(rows[chosen]['resolution'])}"
        choices.append({"label": one_line(label), "row": chosen, "cells": cells})
    return choices


def _change(column: Column, row: Row, baseline: Row) -> list[Any]:
    """Return the text and the raw numbers of a row's change against a baseline."""
    assert column.change is not None
    change = column.change.column
    keys = change.keys[:3]
    nothing = ["", *(None for _ in keys)]
    if row["resolution"] != baseline["resolution"] or row["model"] == baseline["model"]:
        return nothing
    if not column.is_timed or row["baseline"] == baseline["model"]:
        return [change.cell(row), *(row.get(key) for key in keys)]
    value, against = row.get(str(column.key)), baseline.get(str(column.key))
    if keys[0] != "ratio" or value is None or not against:
        return nothing
    estimate = {keys[0]: value / against}
    return [f"≈{change.cell(estimate)}", *(estimate.get(key) for key in keys)]


def _signs(described: Mapping[str, dict[str, Any]]) -> set[str]:
    """Return every character that a cell or a heading has, or can have once another baseline is chosen."""
    signs = set("+−.,%–≈() ")
    for table in described.values():
        for texts in (*table["cells"], table["names"], [column["heading"] for column in table["columns"]]):
            signs.update(*texts)
        for baseline in table["baselines"]:
            signs.update(*(cell[0] for cells in baseline["cells"].values() for cell in cells))
    return signs
