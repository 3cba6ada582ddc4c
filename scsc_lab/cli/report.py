"""``scsc-lab report``: everything measured, written as a folder that GitHub shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, runtimes, store
from scsc_lab.cli import networks, options, progress
from scsc_lab.errors import InputError
from scsc_lab.metrics import latency
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import against as changed
from scsc_lab.report import evidence
from scsc_lab.report import render as formats
from scsc_lab.report.figures.style import FigureOptions
from scsc_lab.store import RowStore

_DEFAULT = "params,macs,activations,latency,erf,top1"


def report(
    context: typer.Context,
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
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="OLD.jsonl", help="Say what changed since the rows of another report."),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", metavar="WORDS", help=f"Of {', '.join(changed.WORDS)}: exit with 1 if any is."),
    ] = None,
    html: Annotated[
        bool, typer.Option("--html", help="Write index.html too: the report as one page to explore.")
    ] = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the page of --html, which this writes, in the browser.")
    ] = False,
    with_: Annotated[
        str | None,
        typer.Option("--with", metavar="COLUMNS", help=f"Of {', '.join(metrics.words())}. Default: {_DEFAULT}."),
    ] = None,
    set_: options.Changes = None,
    weights: options.Weights = None,
    label: options.Labels = None,
    resolution: options.Resolution = None,
    channels: options.Channels = None,
    mixers: Annotated[
        bool, typer.Option("--mixers", help="Each model with every mixer, and those of --mixer, in the same places.")
    ] = False,
    transplant: options.Transplant = False,
    mixer: options.Mixers = None,
    rule: options.Rules = None,
    device: options.Device = "auto",
    threads: options.Threads = "1",
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME,NAME",
            help=f"Of {', '.join(runtimes.registry())}. Default: torch; in the full report those installed.",
        ),
    ] = None,
    seed: options.Seed = "0",
    width: options.Width = None,
    no_titles: options.NoTitles = False,
    panels: options.Panels = "both",
) -> int:
    """Measure the paper's networks, or those named (the first is the baseline), and write a report.

    What is measured is kept: a report that was interrupted goes on where it was when it is started again.
    """
    if name is not None and (not re.fullmatch(r"[\w.-]+", name) or set(name) <= {"."}):
        raise InputError(f"--name {name!r}: letters, digits, '-', '_' and '.'")
    failing = options.several("--fail-on", fail_on, changed.WORDS) if fail_on is not None else []
    if failing and against is None:
        raise InputError("--fail-on goes with --against OLD.jsonl")
    old = evidence.read(against) if against else None
    html = html or open_
    if html:
        from scsc_lab.report.render import html as page

        page.check()
    drawing = options.figures(width, no_titles, panels)
    if from_ is not None:
        if models or model:
            raise InputError("--from takes its networks from the rows; leave the models out")
        pages = _rewritten(from_, folder, name, drawing, html)
        _opened(pages if open_ else [])
        return _held_against(old, evidence.read(from_), failing)
    called = name or ("quick" if quick else "full")
    number = options.seed(seed)
    words = tuple(options.several("--with", with_ or _DEFAULT, tuple(metrics.words())))
    given = {
        "--set": set_,
        "--weights": weights,
        "--label": label,
        "--resolution": resolution,
        "--channels": channels,
        "--transplant": transplant,
        "--mixer": mixer,
        "--rule": rule,
        "--mixers": mixers,
    }
    named = None
    if models or model:
        named = networks.read(context)
    elif wrong := [option for option, value in given.items() if value]:
        raise InputError(f"{' and '.join(wrong)} go with models; the default report has those of the paper")
    used = latency.asked_for(words, options.runtime_names(runtime or runtimes.USUAL))
    if runtime is None and named is None and not quick:
        used = tuple(runtimes.usual())
    where, cores = options.device(device), options.whole("--threads", threads, 4096)
    path = folder / called / evidence.ROWS
    store.check_writable(path)

    from scsc_lab.experiments import report as studying

    effort = studying.QUICK if quick else studying.FULL
    effort = replace(effort, request=replace(effort.request, seed=number, device=where, threads=cores), words=words)
    effort = replace(effort, request=replace(effort.request, runtimes=used))
    groups = [named.networks()] if named else None
    if mixers and groups:
        groups = studying.with_mixers(groups[0])
        effort = replace(effort, studies=())
    for note in named.notes if named else ():
        typer.echo(note, err=True)
    partial = RowStore(path.with_name("rows.partial.jsonl"))
    try:
        with progress.stepwise() as told:
            rows = studying.measure(run_info(seed=number), effort, partial, path.parent, groups, told)
    except KeyboardInterrupt:
        typer.echo(f"{partial.path}: {len(partial.rows)} rows are kept; the same command goes on from there", err=True)
        raise
    store.write(path, store.as_lines(rows))
    partial.path.unlink(missing_ok=True)
    pages = _written(path.parent, evidence.read(path), called, drawing, html)
    _opened(pages if open_ else [])
    return _held_against(old, rows, failing)


def _held_against(old: list[Row] | None, rows: list[Row], failing: list[str]) -> int:
    """Print what changed since another report; return 1 if a change is of those that fail."""
    if old is None:
        return 0
    table = changed.table(old, rows, metrics.columns())
    formats.emit(table, run_info(), None, None)
    return 1 if any(row["verdict"] in failing for row in table.rows) else 0


def _rewritten(source: Path, folder: Path, name: str | None, drawing: FigureOptions, html: bool) -> list[Path]:
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
    return _written(target, rows, name or home.name, drawing, html)


def _written(folder: Path, rows: list[Row], name: str, drawing: FigureOptions, html: bool) -> list[Path]:
    from scsc_lab.report import publish

    paths = publish.write(folder, rows, name, metrics.columns(), metrics.notes, options=drawing, page=html)
    for path in paths:
        typer.echo(path)
    return paths


def _opened(paths: list[Path]) -> None:
    """Open the page among the files of a report in the browser; where there is none, say so."""
    import webbrowser

    for page in (path for path in paths if path.suffix == ".html"):
        if not webbrowser.open(page.resolve().as_uri()):
            typer.echo(f"no browser here: open {page} in one", err=True)
