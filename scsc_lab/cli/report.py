"""``scsc-lab report``: everything measured, written as a folder that GitHub shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, runtimes, store
from scsc_lab.cli import options, progress, rewritten
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command
from scsc_lab.errors import InputError
from scsc_lab.metrics import latency
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import against as changed
from scsc_lab.report import evidence
from scsc_lab.report import render as formats
from scsc_lab.settings import Request
from scsc_lab.store import RowStore

_DEFAULT = "params,macs,activations,latency,erf,top1"


@command(example="scsc-lab report --name mine --html --open")
def report(
    networks: Annotated[Networks, Without("deploy")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Folder of the report. Default: quick or full.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", metavar="FOLDER", help="Where reports lie.")] = Path("reports"),
    quick: Annotated[bool, typer.Option("--quick", help="Under two minutes on two cores: fewer samples.")] = False,
    pico: Annotated[
        bool,
        typer.Option("--pico", help="Train the pico pairs in place of all else: what SCSC buys, at small scale."),
    ] = False,
    write_weights: Annotated[
        Path | None,
        typer.Option("--write-weights", metavar="FOLDER", help="Of --pico. Default: weights beside the rows."),
    ] = None,
    jobs: options.Jobs = "1",
    executor: options.Executor = "local",
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="ROWS.jsonl",
            help="Write from rows, of a report or of any --store; measure nothing. Repeatable.",
        ),
    ] = None,
    probe: options.Probe = None,
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
    mixers: Annotated[
        bool, typer.Option("--mixers", help="Each model with every mixer, and those of --mixer, in the same places.")
    ] = False,
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
    seeds: options.Seeds = None,
    data: options.Data = "navon",
    recipe: options.Recipe = "pico",
    recipe_set: options.RecipeSet = None,
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
    if from_:
        if networks.names:
            raise InputError("--from takes its networks from the rows; leave the models out")
        return _held_against(old, rewritten.write(from_, folder, name, drawing, html, open_, probe), failing)
    if pico:
        if networks.names or quick:
            raise InputError("--pico trains networks of its own; leave the models and --quick out")
        place = folder / (name or "accuracy") / evidence.ROWS
        request = Request(
            device=options.device(device), threads=options.whole("--threads", threads, 4096), seed=options.seed(seed)
        )
        _probed(place, write_weights, request, executor, options.whole("--jobs", jobs))
        return _held_against(old, rewritten.write([place], folder, name or "accuracy", drawing, html, open_), failing)
    if write_weights:
        raise InputError("--write-weights goes with --pico")
    called = name or ("quick" if quick else "full")
    number = options.seed(seed)
    words = tuple(options.several("--with", with_ or _DEFAULT, tuple(metrics.words())))
    if not networks.names and (wrong := [*networks.options(), *(["--mixers"] if mixers else [])]):
        raise InputError(f"{' and '.join(wrong)} go with models; the default report has those of the paper")
    used = latency.asked_for(words, options.runtime_names(runtime or runtimes.USUAL))
    if runtime is None and not networks.names and not quick:
        used = tuple(runtimes.usual())
    where, cores = options.device(device), options.whole("--threads", threads, 4096)
    path = folder / called / evidence.ROWS
    store.check_writable(path)
    evidence.check_overwritten(path)

    from scsc_lab.experiments import report as studying

    effort = studying.QUICK if quick else studying.FULL
    request = replace(
        effort.request,
        seed=number,
        device=where,
        threads=cores,
        runtimes=used,
        seeds=None if seeds is None else options.whole("--seeds", seeds, 1000),
        options=(*effort.request.options, *options.training(data, recipe, recipe_set)),
    )
    effort = replace(effort, request=request, words=words)
    groups = None
    if networks.names:
        built, network_notes = networks.build()
        groups = [built]
        for note in network_notes:
            typer.echo(note, err=True)
    if mixers and groups:
        groups = studying.with_mixers(groups[0])
        effort = replace(effort, studies=())
    elif groups:
        effort = replace(effort, within=True)
    accuracy = folder / "accuracy" / evidence.ROWS  # where --pico writes
    if probe is None and groups is None and accuracy.is_file():
        probe = accuracy if rewritten.has_runs(accuracy) else None
    beside = rewritten.trained(probe)
    partial = RowStore(path.with_name("rows.partial.jsonl"))
    try:
        with progress.stepwise() as told:
            rows = studying.measure(run_info(seed=number), effort, partial, path.parent, groups, beside, progress=told)
    except KeyboardInterrupt:
        typer.echo(f"{partial.path}: {len(partial.rows)} rows are kept; the same command goes on from there", err=True)
        raise
    store.write(path, store.as_lines(rows))
    partial.path.unlink(missing_ok=True)
    rewritten.show(path.parent, evidence.read(path), called, drawing, html, open_)
    return _held_against(old, rows, failing)


def _held_against(old: list[Row] | None, rows: list[Row], failing: list[str]) -> int:
    """Print what changed since another report; return 1 if a change is of those that fail.

    Raises:
        InputError: if there are words that fail, and something by which they go cannot be judged.
    """
    if old is None:
        return 0
    table = changed.table(old, rows, metrics.columns())
    formats.emit(table, run_info(), None, None)
    if any(row["verdict"] in failing for row in table.rows):
        return 1
    if reason := changed.unjudged(table.rows, old, metrics.columns(), failing):
        raise InputError(reason)
    return 0


def _probed(path: Path, weights: Path | None, request: Request, executor: str, jobs: int) -> None:
    """Train and measure what the store of the probe has not."""
    store.check_writable(path)
    kept = RowStore(path)

    from scsc_lab.experiments import probe, runner

    with runner.executor(executor, jobs) as pool, progress.stepwise() as told:
        try:
            where = weights or path.parent / "weights"
            probe.measure(kept, path.parent / "fields", where, request, executor=pool, progress=told)
        except KeyboardInterrupt:
            typer.echo(f"{path}: {len(kept.rows)} rows are kept; the same command goes on from there", err=True)
            raise
