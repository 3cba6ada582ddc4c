"""``scsc-lab report``: everything measured, written as a folder that GitHub shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab import files, metrics, rowfile
from scsc_lab import runtimes as runtimes_
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Only, Reworded, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.execution.pools import Parallel
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import against as changed
from scsc_lab.report import render as formats
from scsc_lab.settings import Drawing, Execution, Schedule, Settings, Training, texts
from scsc_lab.store import Store

if TYPE_CHECKING:
    from scsc_lab.experiments.experiment import Experiment
    from scsc_lab.experiments.publish import Output

_DEFAULT = ("params", "macs", "activations", "latency", "erf", "top1")


@command(first="--name --quick --with --html --from")
def report(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy", "input")],
    execution: Annotated[Execution, Only("device", "threads", "seed")],
    training: Annotated[
        Training,
        Only("data", "recipe", "recipe_set", "seeds"),
        Reworded(seeds="Training runs per network (default: 10), initialisations per field (default: 3)."),
    ],
    schedule: Schedule,
    drawing: Drawing,
    parallel: Parallel,
    name: Annotated[
        str | None, option("Folder of the report. Default: quick or full.", "--name", metavar="NAME", panel="Output")
    ] = None,
    folder: Annotated[Path, output_file("Parent folder of reports.", "--folder", "FOLDER")] = Path("reports"),
    quick: Annotated[bool, option("Measure fewer samples: under two minutes on two cores.", "--quick")] = False,
    pico: Annotated[
        bool, option("Only train the pico pairs, a small-scale probe.", "--pico", panel="Training")
    ] = False,
    write_weights: Annotated[
        Path | None,
        option(
            "With --pico: folder for trained weights. Default: weights beside the rows.",
            "--write-weights",
            metavar="FOLDER",
            panel="Training",
        ),
    ] = None,
    from_: Annotated[
        tuple[Path, ...],
        option(
            "Write a report from a --store or the rows.jsonl of a report, without measuring. Repeatable.",
            "--from",
            metavar="FILE",
        ),
    ] = (),
    probe: shared.Probe = None,
    against: Annotated[
        Path | None, option("Report changes since this rows.jsonl or store.", "--against", metavar="FILE")
    ] = None,
    fail_on: Annotated[
        tuple[str, ...],
        option(
            "Exit with 1 if a change has one of these verdicts.",
            "--fail-on",
            metavar="WORDS",
            choices=tuple(changed.WORDS),
            parse=texts.some_of(lambda: changed.WORDS),
        ),
    ] = (),
    html: Annotated[
        bool, option("Write index.html, too: the report as one page to explore.", "--html", panel="Output")
    ] = False,
    open_: Annotated[
        bool, option("Write the page of --html and open it in the browser.", "--open", panel="Output")
    ] = False,
    columns: shared.Columns = _DEFAULT,
    mixers: Annotated[
        bool,
        option("Measure each model with every mixer in the same places.", "--mixers", panel="Replacement"),
    ] = False,
    runtime: Annotated[
        tuple[str, ...],
        option(
            "Runtimes to time, comma-separated. Default: torch; in the full report, those installed.",
            "--runtime",
            metavar="NAME,NAME",
            choices="scsc_lab.runtimes:registry",
            parse=texts.names,
            panel="Measurement",
        ),
    ] = (),
) -> int:
    """Measure the paper's networks, or those named (the first is the baseline), and write a report.

    Interrupted reports resume: the same command measures what is missing.
    """
    if name is not None and (not re.fullmatch(r"[\w.-]+", name) or set(name) <= {"."}):
        raise InputError(f"--name {name!r}: letters, digits, '-', '_' and '.'")
    if fail_on and against is None:
        raise InputError("--fail-on goes with --against FILE")
    from scsc_lab.experiments import publish

    old = publish.table_rows(against) if against else None
    page = html or open_
    if page:
        from scsc_lab.report.render import html as pages

        pages.check()
    written = publish.Output(drawing, page)
    if from_:
        shared.require_only(context, (*_WRITING, "from_", "probe"), "--from measures nothing")
        return _held_against(old, _rewritten(from_, folder, name, probe, written, open_), fail_on)
    if pico:
        shared.require_only(context, (*_WRITING, *_OF_PICO), "--pico trains networks of its own")
        place = folder / (name or "accuracy")
        source = _probe(Settings(execution, training=training), place, write_weights, parallel)
        return _held_against(old, _published(source, place, written, open_), fail_on)
    if write_weights:
        raise InputError("--write-weights goes with --pico")
    called = name or ("quick" if quick else "full")
    if not networks.names and (wrong := [*networks.options(), *(["--mixers"] if mixers else [])]):
        raise InputError(f"{' and '.join(wrong)} go with models; the default report has those of the paper")
    if networks.names and probe is not None:
        raise InputError("--probe goes with the paper's claims, and a report on named models has none: leave it out")
    of_fields = {column.word for column in metrics.registry()["erf"].columns}
    if not of_fields & set(columns) and "panels" in shared.explicit(context):
        raise InputError("--panels needs receptive fields: add erf to --with")
    home = folder / called
    files.check_writable(home / publish.ROWS)

    from scsc_lab.experiments import report as studying

    effort = studying.QUICK if quick else studying.FULL
    default_runtimes = (runtimes_.USUAL,) if networks.names or quick else tuple(runtimes_.default_names())
    settings = replace(
        effort.settings,
        execution=execution,
        timing=replace(effort.settings.timing, runtimes=runtime or default_runtimes),
        fields=replace(effort.settings.fields, seeds=training.seeds),
        training=training,
    )
    settings = shared.checked_settings(context, columns, settings, schedule)
    effort = replace(effort, settings=settings, columns=columns)
    groups, failed = None, False
    if networks.names:
        built = networks.build()
        groups, failed = [built.networks], bool(built.failures)
        reasons = [f"{row['model']}: NOT MEASURED: {row['failure']}." for row in built.failures]
        for note in (*built.notes, *reasons):
            typer.echo(note, err=True)
    if mixers and groups:
        groups = studying.with_mixers(groups[0])
        effort = replace(effort, studies=())
    elif groups:
        effort = replace(effort, with_parts=True)
    shared.warn_of_few_seeds(groups or studying.default_groups(), columns, training.seeds, schedule.budgets)
    accuracy = folder / "accuracy" / publish.ROWS  # where --pico writes
    trained = publish.trained(probe) if probe else publish.probe_beside(accuracy) if groups is None else []
    partial = Store(home / "rows.partial.db")
    _measured(studying.experiments(effort, groups, trained), schedule, partial, parallel)
    rows = _published(partial, home, written, open_)
    partial.close()
    (home / "rows.partial.db").unlink(missing_ok=True)
    return _held_against(old, rows, fail_on) or int(failed)


_WRITING = ("name", "folder", "html", "open_", "against", "fail_on", "width", "titles", "panels")
"""Parameters of how a report is written, which act whatever it is made from."""

_OF_PICO = (
    *("pico", "write_weights", "jobs", "executor", "executor_timeout", "timeout", "device", "threads", "seed", "seeds"),
    *("recipe", "recipe_set"),
)
"""Parameters that the training of the pico pairs takes; their data is theirs."""


def _held_against(old: list[Row] | None, rows: list[Row], failing: Sequence[str]) -> int:
    """Print what changed since another report; return 1 if a change is of those that fail.

    Raises:
        InputError: if there are words that fail, and something by which they go cannot be judged.
    """
    if old is None:
        return 0
    table = changed.table(old, rows, metrics.columns())
    formats.emit(table, run_info())
    if any(row["verdict"] in failing for row in table.rows):
        return 1
    if reason := changed.unjudged(table.rows, old, metrics.columns(), failing):
        raise InputError(reason)
    return 0


def _probe(settings: Settings, folder: Path, weights: Path | None, parallel: Parallel) -> Store:
    """Train and measure what the store of the probe lacks, and return a store of the probe alone.

    A new store begins with the measurements of the folder's files: the report's, and exported runs (``runs.jsonl``).
    """
    from scsc_lab.experiments import probe

    path = folder / "rows.db"
    files.check_writable(path)
    for family in probe.families():
        shared.warn_of_few_seeds([family], ("accuracy",), settings.training.seeds or probe.STEPS[-1][1])
    is_new, probe_store = not path.exists(), Store(path)
    for file in sorted(folder.glob("*.jsonl")) if is_new else ():
        rowfile.absorb(probe_store, rowfile.opened(file), digests=())
    with running.working(probe_store, parallel) as (pool, report):
        experiments = probe.run(settings, weights or folder / "weights", probe_store, pool, report)
    digests = {str(experiment.row()["digest"]) for experiment in experiments}
    digests |= {str(stored["digest"]) for stored, *_ in probe_store.experiments() if stored["kind"] == "tuning"}
    selection = Store()
    rowfile.absorb(selection, probe_store, digests=digests)
    return selection


def _measured(experiments: Sequence[Experiment], schedule: Schedule, store: Store, parallel: Parallel) -> None:
    """Measure what a store lacks of experiments, their networks tuned and trained as the schedule says."""
    from scsc_lab.experiments import runner, train

    with running.working(store, parallel) as (pool, report):
        planned = [train.scheduled(experiment, schedule, store, pool, report)[0] for experiment in experiments]
        if runner.run([part for each in planned for part in each], store, pool, report).interrupted:
            raise KeyboardInterrupt


def _rewritten(
    sources: Sequence[Path], folder: Path, name: str | None, probe: Path | None, output: Output, open_: bool
) -> list[Row]:
    """Write a report from rows that are there: beside them, or in a folder of its own; return its rows."""
    from scsc_lab.experiments import publish

    if len(sources) > 1 and name is None:
        raise InputError("several files become one report: name it with --name")
    home = sources[0].resolve().parent
    is_report = sources[0].name == publish.ROWS
    target = sources[0].parent if is_report and name is None else folder / (name or sources[0].stem)
    files.check_writable(target / "README.md")
    source = publish.combined(sources, publish.trained(probe))
    if target.resolve() != home and (target / "README.md").exists():
        rows = target / publish.ROWS
        if not rows.exists() or rows.read_text(encoding="utf-8") != rowfile.lines(source):
            raise InputError(f"{target} is another report: give another --name")
    return _published(source, target, output, open_)


def _published(source: Store, folder: Path, output: Output, open_: bool) -> list[Row]:
    """Write a report into a folder, print its paths, and open its page where that is wanted; return its rows."""
    import webbrowser

    from scsc_lab.experiments import publish

    rows, paths = publish.write(source, folder, folder.resolve().name, output)
    for path in paths:
        typer.echo(path, files.results())
    for page in (path for path in paths if open_ and path.suffix == ".html"):
        if not webbrowser.open(page.resolve().as_uri()):
            typer.echo(f"no browser here: open {page} in one", err=True)
    return rows
