"""``scsc-lab report``: everything measured, written as a folder that GitHub shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from scsc_lab import metrics, runtimes, store
from scsc_lab.cli import options, progress, requests, rewritten, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import against as changed
from scsc_lab.report import evidence
from scsc_lab.report import render as formats
from scsc_lab.store import RowStore

_DEFAULT = "params,macs,activations,latency,erf,top1"


@command(example="scsc-lab report --name mine --html --open")
def report(
    context: typer.Context,
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
    page = html or open_
    if page:
        from scsc_lab.report.render import html as pages

        pages.check()
    drawing = options.figures(width, no_titles, panels)
    if from_:
        requests.require_only(context, (*_WRITING, "from_", "probe"), "--from measures nothing")
        return _held_against(old, rewritten.write(from_, folder, name, drawing, page, open_, probe), failing)
    if pico:
        requests.require_only(context, (*_WRITING, *_OF_PICO), "--pico trains networks of its own")
        place = folder / (name or "accuracy") / evidence.ROWS
        _probe(context, place, write_weights, executor, options.whole("--jobs", jobs))
        return _held_against(old, rewritten.write([place], folder, name or "accuracy", drawing, page, open_), failing)
    if write_weights:
        raise InputError("--write-weights goes with --pico")
    called = name or ("quick" if quick else "full")
    words = tuple(options.several("--with", with_ or _DEFAULT, tuple(metrics.words())))
    if not networks.names and (wrong := [*networks.options(), *(["--mixers"] if mixers else [])]):
        raise InputError(f"{' and '.join(wrong)} go with models; the default report has those of the paper")
    if networks.names and probe is not None:
        raise InputError("--probe is of the paper's claims, which a report on models has not: leave it out")
    fields = {column.word for column in metrics.registry()["erf"].columns}
    if not fields & set(words) and "panels" in requests.explicit(context):
        raise InputError("--panels is of receptive fields: add erf to --with")
    path = folder / called / evidence.ROWS
    store.check_writable(path)
    evidence.check_overwritten(path)

    from scsc_lab.experiments import report as studying
    from scsc_lab.experiments import runner

    effort = studying.QUICK if quick else studying.FULL
    used = (runtimes.USUAL,) if networks.names or quick else tuple(runtimes.usual())
    request = requests.read(context, words, replace(effort.request, runtimes=used))
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
    shared.warn_of_few_seeds(groups or studying.default_groups(), words, request.seeds)
    accuracy = folder / "accuracy" / evidence.ROWS  # where --pico writes
    if probe is None and groups is None and accuracy.is_file():
        probe = accuracy if rewritten.has_runs(accuracy) else None
    trained = rewritten.trained(probe)
    partial = RowStore(path.with_name("rows.partial.jsonl"))
    run = run_info(seed=request.seed)
    try:
        with runner.executor(executor, options.whole("--jobs", jobs)) as pool, progress.stepwise() as advance:
            rows = studying.measure(run, effort, partial, path.parent, groups, trained, executor=pool, progress=advance)
    except KeyboardInterrupt:
        typer.echo(f"{partial.path}: {len(partial.rows)} rows are kept; the same command goes on from there", err=True)
        raise
    store.write(path, store.as_lines(rows))
    partial.path.unlink(missing_ok=True)
    rewritten.show(path.parent, evidence.read(path), called, drawing, page, open_)
    return _held_against(old, rows, failing)


_WRITING = ("name", "folder", "html", "open_", "against", "fail_on", "width", "no_titles", "panels")
"""Parameters of how a report is written, which act whatever it is made from."""

_OF_PICO = (
    *("pico", "write_weights", "jobs", "executor", "device", "threads", "seed", "seeds", "recipe", "recipe_set"),
)
"""Parameters that the training of the pico pairs takes; their data is theirs."""


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


def _probe(context: typer.Context, path: Path, weights: Path | None, executor: str, jobs: int) -> None:
    """Train and measure what the store of the probe lacks."""
    store.check_writable(path)
    request = requests.read(context, ("accuracy",))
    kept = RowStore(path)

    from scsc_lab.experiments import probe, runner

    effort = probe.effort(request)
    shared.warn_of_few_seeds(probe.families(), ("accuracy",), effort.ablation_seeds)
    with runner.executor(executor, jobs) as pool, progress.stepwise() as advance:
        try:
            where = weights or path.parent / "weights"
            probe.measure(kept, path.parent / "fields", where, request, effort, executor=pool, progress=advance)
        except KeyboardInterrupt:
            typer.echo(f"{path}: {len(kept.rows)} rows are kept; the same command goes on from there", err=True)
            raise
