"""A report as a folder: rows, maps, text, tables and figures, from the experiments of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scsc_lab import files, metrics, rowfile
from scsc_lab.errors import InputError
from scsc_lab.experiments import report, report_rows, results, schema
from scsc_lab.experiments.runner import run
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import compose
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing
from scsc_lab.store import Store

ROWS = "rows.jsonl"
"""The evidence: every raw number of a report, one record a line."""


@dataclass(frozen=True)
class Output:
    """Settings of writing a report.

    Attributes:
        figures: width and titles of figures.
        page: whether ``index.html``, the report as one page to explore, is written too.
    """

    figures: Drawing = style.PLAIN
    page: bool = False


def write(source: Store, folder: Path, name: str, output: Output) -> tuple[list[Row], list[Path]]:
    """Write a store's experiments as a report; return the rows of its tables, and the paths of its texts and figures.

    Args:
        source: the store.
        folder: where the report goes; its rows and maps too.
        name: its title.
        output: how it is written.

    Raises:
        InputError: if there is no experiment, or a file cannot be written.
    """
    rows = rows_of(source)
    for names in (rowfile.maps_of(source, measured) for measured in source.all_rows().values()):
        for file_name, content in names:
            files.write(folder / rowfile.MAPS / file_name, content)
    files.write(folder / ROWS, rowfile.lines(source))
    paths = compose.write(
        folder, rows, name, metrics.columns(), metrics.notes, options=output.figures, page=output.page
    )
    return rows, paths


def combined(paths: Sequence[Path], probe: Sequence[Row] = ()) -> Store:
    """Return a store in memory with the experiments of several files.

    Args:
        paths: stores, or rows of reports.
        probe: rows of trained pico networks, shown beside the claims about accuracy of those files.

    Raises:
        InputError: if a file is no store, or has no experiment.
    """
    target = Store()
    for path in paths:
        source = _checked(path)
        if not source.experiments():
            raise InputError(f"{path} has no experiment: name a store of compare, ablate, train or report")
        rowfile.absorb(target, source, {"probe": list(probe)} if probe else {})
    return target


def _checked(path: Path) -> Store:
    """Return the store of a file, whose rows hold what their keys say."""
    source = rowfile.opened(path)
    stored = source.all_rows()
    for key, measurement in source.measurements().items():
        for row in stored[key]:
            checked = {"training": {"runs": [row]}, "latency": {**row, "table": "timing"}}
            if fault := schema.fault(checked.get(measurement["metric"], row)):
                raise InputError(f"{path}, row {key}: {fault}")
    return source


def table_rows(path: Path) -> list[Row]:
    """Return the rows of the tables of a report or of any store.

    Raises:
        InputError: if the file is no store, or has no experiment.
    """
    return rows_of(combined([path]))


def rows_of(source: Store) -> list[Row]:
    """Return the rows of the tables of a report on all experiments of a store.

    Raises:
        InputError: if it has none.
    """
    rows = [_with_folder(row) for row in report_rows.rows(results.read(source), run_info())]
    schema.check(rows, "the rows are not those of a report")
    return rows


def trained(path: Path | None) -> list[Row]:
    """Return the rows of trained networks of a file, at every budget; none without a file.

    Raises:
        InputError: if the file is no store, or has no training runs.
    """
    if path is None:
        return []
    rows = [row for row in table_rows(path) if row["table"] in report_rows.ACROSS and row.get("runs")]
    if not rows:
        raise InputError(f"{path} has no training runs: name the --store of `scsc-lab train`")
    return [
        {
            "network": row.get("network", row["model"]),
            "resolution": row["resolution"],
            "runs": [
                {key: value for key, value in run.items() if key not in ("curve", "versions")} for run in row["runs"]
            ],
        }
        for row in rows
    ]


def probe_beside(path: Path) -> list[Row]:
    """Return the rows of trained networks of a report, or none where it is not there or has none."""
    try:
        return trained(path)
    except InputError:
        return []


def claims(probe: Sequence[Row] = ()) -> list[Row]:
    """Return the rows of the paper's claims, counted now.

    Args:
        probe: rows of trained pico networks, shown beside the claims about accuracy.
    """
    (result,) = run([report.claims(probe)]).results
    return [row for row in report_rows.rows([result], run_info()) if row["table"] == "claim"]


def _with_folder(row: Row) -> Row:
    """Return a row whose maps are named with the folder that they lie in."""
    map_file = {"map_file": f"{rowfile.MAPS}/{row['map_file']}"} if "map_file" in row else {}
    stages = {"stages": [_with_folder(stage) for stage in row["stages"]]} if row.get("stages") else {}
    return {**row, **map_file, **stages}
