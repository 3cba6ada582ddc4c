"""``scsc-lab train``: networks trained in pairs, seed by seed, and how their accuracies differ."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Baseline, Networks
from scsc_lab.cli.parameters import Only, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.execution.pools import Parallel
from scsc_lab.files import check_writable
from scsc_lab.records import Row
from scsc_lab.report import accuracy as blocks
from scsc_lab.report.figures import style
from scsc_lab.settings import Execution, Output, Schedule, Settings, Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.experiments.experiment import Experiment
    from scsc_lab.experiments.train import Trained

Suffix = Literal[".safetensors", ".pth"]
"""Kinds of file that trained weights are written to."""


@command(first="--data --seeds --budgets --tune --store")
def train(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy", "input")],
    training: Training,
    schedule: Schedule,
    execution: Annotated[Execution, Only("device", "threads", "seed")],
    output: Output,
    parallel: Parallel,
    delta: Annotated[
        float,
        option("Differences below this many points count as equal.", "--delta", low=0, high=100, metavar="POINTS"),
    ] = 0.5,
    self_test: Annotated[
        bool, option("Train the baseline against itself with other seeds: the noise floor.", "--self-test")
    ] = False,
    difficulty: Annotated[
        bool,
        option("Evaluate trained weights on smaller letters and with noise, too (navon).", "--difficulty"),
    ] = False,
    plan: Annotated[
        bool,
        option("Print how many seeds a difference of 2 points needs, from 3 seeds by default.", "--plan"),
    ] = False,
    until: Annotated[
        float | None,
        option(
            "Add seeds until half the width of every interval is below this.",
            "--until",
            low=0,
            high=100,
            metavar="POINTS",
        ),
    ] = None,
    max_seeds: Annotated[int, option("Most seeds, with --until.", "--max-seeds", low=1, high=1000, metavar="N")] = 20,
    workers: Annotated[
        int, option("Processes that read images.", "--workers", low=0, high=1024, metavar="N", panel="Measurement")
    ] = 0,
    write_weights: Annotated[
        Path | None,
        output_file(
            "Write trained weights to this folder, for --weights. Runs whose weights are missing are repeated.",
            "--write-weights",
            "FOLDER",
        ),
    ] = None,
    suffix: Annotated[Suffix, option("Format of the weights.", "--weights-format", panel="Output")] = ".safetensors",
    plot: Annotated[Path | None, output_file("Draw every seed, pairs joined, and the differences.", "--plot")] = None,
    plot_budgets: Annotated[
        Path | None, output_file("Draw the differences at each of --budgets.", "--plot-budgets")
    ] = None,
    curves: Annotated[Path | None, output_file("Draw the learning curves.", "--curves")] = None,
    baseline: Baseline = None,
) -> int:
    """Train networks in pairs of one seed and compare their accuracies: the last epoch, with a 95 % interval.

    Past one accelerator, torchrun spreads one run: torchrun --nproc-per-node=2 -m scsc_lab train ...
    """
    shared.require_one_budget(schedule, training)
    if until is None:
        shared.require_without(context, ("max_seeds",), "--max-seeds goes with --until")
    if plot_budgets and len(schedule.budgets) < 2:
        raise InputError("--plot-budgets needs --budgets with two or more")
    store = output.store
    for figure in filter(None, (plot, curves, plot_budgets)):
        style.check(figure)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (store or parallel.jobs > 1):
        raise InputError("torchrun spreads one run at a time: leave --store and --jobs out")
    results_store = running.opened(output)
    if not write_weights:
        shared.require_without(context, ("suffix",), "no weights are written without --write-weights FOLDER")
    if write_weights:
        check_writable(write_weights / "weights.safetensors")

    from scsc_lab.analysis import sequential
    from scsc_lab.experiments import runner, stopping
    from scsc_lab.experiments import train as studying
    from scsc_lab.metrics import accuracy
    from scsc_lab.metrics.training import configure
    from scsc_lab.training.plan import Runs

    chosen_training = replace(training, seeds=training.seeds or (3 if plan else None))
    settings = replace(
        configure(Settings(execution, training=chosen_training)),
        workers=workers,
        weights=str(write_weights) if write_weights else "",
        suffix=suffix,
    )
    if until is not None and (training.seeds is not None or plan or not store):
        raise InputError("--until needs --store, whose runs it reuses, and decides the seeds: no --seeds, no --plan")
    if difficulty and (training.data != "navon" or not write_weights):
        raise InputError("--difficulty needs --data navon and --write-weights FOLDER")
    looks = sequential.looks(max_seeds) if until else ()
    studying.check(schedule, settings)
    built = networks.build(heads_fit=False)
    built_networks, index = built.networks, built.position(baseline)
    if self_test and len(built_networks) > 1:
        raise InputError(f"a self-test trains one network against itself; {len(built_networks)} are named")
    if not self_test and not plan and until is None:
        tables = [[built_networks[index], *built_networks]]
        shared.warn_of_few_seeds(tables, ["accuracy"], chosen_training.seeds, schedule.budgets)

    def experiment(runs: Runs, confidence: float = accuracy.CONFIDENCE) -> Experiment:
        return studying.experiment(
            built_networks, runs, baseline=index, delta=delta, confidence=confidence, self_test=self_test
        )

    if store and schedule.tune is None and until is None:
        typer.echo(runner.status(studying.scheduled(experiment(settings), schedule)[0], results_store), err=True)
    from scsc_lab.training import batches

    with batches.joined() as shard, _quiet(shard.rank > 0):
        with running.working(results_store, parallel) as (pool, report):

            def measure(runs: Runs, confidence: float) -> studying.Trained:
                return studying.run(experiment(runs, confidence), schedule, results_store, pool, report)

            if until is None:
                trained, stopped = measure(settings, accuracy.CONFIDENCE), list[str]()
            else:
                trained, look = stopping.until_narrow(measure, settings, looks, until)
                stopped = [stopping.note(look, looks, until)]
            if trained.interrupted and (store or not trained.networks):
                raise KeyboardInterrupt
        harder: list[Row] = []
        if difficulty:
            judged = running.measure([studying.on_harder_images(trained.arms)], results_store, parallel)
            if judged.interrupted:
                raise KeyboardInterrupt
            harder = studying.summaries_by_difficulty(judged.results[0], str(trained.networks[0]["baseline"]))
        if plan:
            plans = stopping.plan(trained, stopping.DIFFERENCE)
            typer.echo("\n".join(stopping.lines(plans, stopping.DIFFERENCE, parallel.jobs)), err=True)
        cut_short = ["CUT SHORT: runs are missing."] if trained.interrupted else []
        notes = [
            *(f"{row['model']}: {row['runs'][0]['head']}." for row in trained.networks if row["runs"][0]["head"]),
            *stopped,
            *blocks.difficulty_findings(harder),
            *blocks.tuning_notes(trained.tuned),
            *accuracy.notes(trained.networks),
            *cut_short,
        ]
        table = blocks.table(trained.networks, trained.runs, notes, trained.budgets, trained.tuned, harder)
        code = 0
        if shard.rank == 0:
            code = running.show(table, output, built, seed=execution.seed, cut=trained.interrupted)
            _draw(trained, plot, curves, plot_budgets)
    return code


def _draw(trained: Trained, plot: Path | None, curves: Path | None, plot_budgets: Path | None) -> None:
    from scsc_lab.report.figures import accuracy

    drawings: list[tuple[Path | None, Callable[[], Figure]]] = [
        (plot, lambda: accuracy.draw([trained.networks])),
        (curves, lambda: accuracy.curves(trained.networks)),
        (plot_budgets, lambda: accuracy.draw_budgets(trained.budgets)),
    ]
    for path, draw in drawings:
        if path is not None:
            running.save_figure(draw(), path)


@contextlib.contextmanager
def _quiet(is_quiet: bool) -> Iterator[None]:
    """Let a process that is not the first say nothing."""
    if not is_quiet:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
    sys.stdout.flush()
