"""``scsc-lab report``: everything measured, written as a folder that GitHub shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, store
from scsc_lab.architectures import overrides as spec_changes
from scsc_lab.cli import options, progress
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.report import evidence, publish
from scsc_lab.report.render import html as page
from scsc_lab.store import RowStore


def report(
    models: options.Models = None,
    model: options.MoreModels = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Folder of the report. Default: quick or full.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", metavar="FOLDER", help="Where reports lie.")] = Path("reports"),
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes on two cores: fewer samples.")] = False,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="ROWS.jsonl", help="Rewrite text and figures from rows; measure nothing."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write index.html too: the report as one page to explore.")
    ] = False,
    set_: options.Changes = None,
    weights: options.Weights = None,
    seed: options.Seed = "0",
) -> None:
    """Measure the paper's networks, or those named (the first is the baseline), and write a report.

    What is measured is kept: a report that was interrupted goes on where it was when it is started again.
    """
    if name is not None and (not re.fullmatch(r"[\w.-]+", name) or set(name) <= {"."}):
        raise InputError(f"--name {name!r}: letters, digits, '-', '_' and '.'")
    if html:
        page.check()
    if from_ is not None:
        if models or model:
            raise InputError("--from takes its networks from the rows; leave the models out")
        _rewritten(from_, folder, name, html)
        return
    called = name or ("quick" if quick else "full")
    number = options.seed(seed)
    changes = spec_changes.parse(set_ or [])
    names = [*(models or []), *(model or [])]
    if names:
        options.names(models, model)
    elif changes or weights:
        raise InputError("--set and --weights go with models; the default report has those of the paper")
    path = folder / called / evidence.ROWS
    store.check_writable(path)

    from scsc_lab.experiments import report as studying
    from scsc_lab.models import names as networks

    effort = studying.QUICK if quick else studying.FULL
    effort = replace(effort, request=replace(effort.request, seed=number))
    groups = [networks.networks(names, changes, weights or [])] if names else None
    partial = RowStore(path.with_name("rows.partial.jsonl"))
    try:
        with progress.stepwise() as told:
            rows = studying.measure(run_info(seed=number), effort, partial, path.parent, groups, told)
    except KeyboardInterrupt:
        typer.echo(f"{partial.path}: {len(partial.rows)} rows are kept; the same command goes on from there", err=True)
        raise
    store.write(path, store.as_lines(rows))
    partial.path.unlink(missing_ok=True)
    _written(path.parent, evidence.read(path), called, html)


def _rewritten(source: Path, folder: Path, name: str | None, html: bool) -> None:
    """Write text and figures from rows: beside them, or with another name into a folder of their own."""
    rows = evidence.read(source)
    home = source.resolve().parent
    target = source.parent if name is None or (folder / name).resolve() == home else folder / name
    store.check_writable(target / "README.md")
    if target is not source.parent:
        kept = target / evidence.ROWS
        if kept.exists() and kept.read_bytes() != source.read_bytes():
            raise InputError(f"{target} is another report: give another --name")
        store.write(kept, source.read_bytes())
        for row in rows:
            if "map_file" in row:
                found = evidence.inside(source.parent, str(row["map_file"]))
                store.write(evidence.inside(target, str(row["map_file"])), found.read_bytes())
    _written(target, rows, name or home.name, html)


def _written(folder: Path, rows: list[dict[str, object]], name: str, html: bool) -> None:
    for path in publish.write(folder, rows, name, metrics.columns(), metrics.notes, page=html):
        typer.echo(path)
