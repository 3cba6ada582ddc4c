"""Reports from rows that are there already: of a report, of any stores, or of several of both. Nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from scsc_lab import metrics, store
from scsc_lab.errors import InputError
from scsc_lab.experiments import gather
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import evidence, schema
from scsc_lab.report.figures.style import FigureOptions
from scsc_lab.store import RowStore


def write(
    sources: Sequence[Path],
    folder: Path,
    name: str | None,
    drawing: FigureOptions,
    html: bool,
    open_: bool = False,
    probe: Path | None = None,
) -> list[Row]:
    """Write text and figures from rows, and return the rows of the report.

    Rows of one report are rewritten beside them; with another name, into a folder of their own. Stores become a report
    in a folder of its name, which is that of the folder they lie in, or else theirs; several files need a name. Rows,
    and the maps that they name, are copied there where they lie elsewhere.

    Args:
        sources: the files.
        folder: where reports lie.
        name: what the report is called.
        drawing: width and titles of figures.
        html: whether a page is written too.
        open_: whether it is opened in the browser.
        probe: rows of trained pico networks that the claims of one report get, in its rows too.

    Raises:
        InputError: if a file holds no rows, or the folder is another report's.
    """
    stores = [_opened(path) for path in sources]
    reports = [report for one in stores for report in evidence.reports(one.rows)]
    for path, one in zip(sources, stores, strict=True):
        for report in evidence.reports(one.rows):
            evidence.check_schema(path, report[0])
    if len(sources) > 1 and name is None:
        raise InputError("several files become one report: say what it is called with --name")
    single = reports[0] if len(reports) == 1 and len(reports[0]) == sum(len(one.rows) for one in stores) else None
    home = sources[0].resolve().parent
    if single is not None:
        target = sources[0].parent if name is None or (folder / name).resolve() == home else folder / name
    else:
        stem = home.name if sources[0].stem == "rows" else sources[0].stem
        target = folder / (name or stem)
    beside = len(sources) == 1 and target.resolve() == home
    rows = single or gather.rows(stores, reports, run_info())
    store.check_writable(target / "README.md")
    if probe is not None:
        if single is None or not beside:
            raise InputError("--probe goes with the rows of one report, rewritten where they are")
        from scsc_lab.experiments import paper

        rows = paper.probed(rows, trained(probe))
        store.write(sources[0], store.as_lines(rows))
    if not beside:
        kept = target / evidence.ROWS
        content = b"".join(_whole_lines(path, one) for path, one in zip(sources, stores, strict=True))
        if (kept.exists() and kept.read_bytes() != content) or (not kept.exists() and (target / "README.md").exists()):
            raise InputError(f"{target} is another report: give another --name")
        for source in sources:
            _copy_maps(rows, source.parent, target)
        store.write(kept, content)
    show(target, rows, name or target.resolve().name, drawing, html, open_)
    return rows


def show(folder: Path, rows: Sequence[Row], name: str, drawing: FigureOptions, html: bool, open_: bool = False) -> None:
    """Write a report's text and figures into a folder, print their paths, and open its page where that is wanted."""
    import webbrowser

    from scsc_lab.report import publish

    paths = publish.write(folder, rows, name, metrics.columns(), metrics.notes, options=drawing, page=html)
    for path in paths:
        typer.echo(path)
    for page in (path for path in paths if open_ and path.suffix == ".html"):
        if not webbrowser.open(page.resolve().as_uri()):
            typer.echo(f"no browser here: open {page} in one", err=True)


def trained(path: Path | None) -> list[Row]:
    """Return the rows of networks with their runs that a file holds; none without a file.

    Raises:
        InputError: if the file has no runs of training.
    """
    if path is None:
        return []
    found = _opened(path)
    rows = [row for row in gather.rows([found], evidence.reports(found.rows), run_info()) if row.get("runs")]
    if not rows:
        raise InputError(f"{path} has no runs of training: name the --store of `scsc-lab train`")
    return rows


def has_runs(path: Path) -> bool:
    """Return whether a file holds rows of networks with their runs."""
    try:
        return bool(trained(path))
    except InputError:
        return False


def _whole_lines(path: Path, opened: RowStore) -> bytes:
    """Return the content of a file of rows, without a last line that a kill has torn."""
    content = path.read_bytes()
    return (content[: content.rfind(b"\n") + 1] if opened.repaired else content).rstrip(b"\n") + b"\n"


def _opened(path: Path) -> RowStore:
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}: name rows of a report, or those that a --store has kept")
    found = RowStore(path)
    if not found.rows:
        raise InputError(f"{path} holds no rows")
    schema.check(found.rows, str(path))
    return found


def _copy_maps(rows: Sequence[Row], source: Path, target: Path) -> None:
    """Copy the maps that rows name from a folder where they are there; another map of the same name stays as it is."""
    for name in dict.fromkeys(str(row["map_file"]) for row in evidence.with_stages(rows) if "map_file" in row):
        there, copy = evidence.inside(source, name), evidence.inside(target, name)
        if not there.is_file():
            continue
        if copy.exists() and copy.read_bytes() != there.read_bytes():
            raise InputError(f"{copy} is there already, and is another map than {there}: give another --name")
        store.write(copy, there.read_bytes())
