"""``scsc-lab train``: networks trained in pairs, seed by seed, and how their accuracies differ."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scsc_lab.architectures import overrides
from scsc_lab.cli import options, progress, requests, shared
from scsc_lab.cli.networks import Baseline, Networks, position
from scsc_lab.cli.parameters import Without, command
from scsc_lab.database import Store
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.records import Row
from scsc_lab.report import render as formats
from scsc_lab.report import training as tables
from scsc_lab.report.figures import style
from scsc_lab.settings import Request
from scsc_lab.store import check_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from scsc_lab.experiments.train import Trained

_SUFFIXES = (".safetensors", ".pth")


@command(example="scsc-lab train swin_pico scsc_swin_pico --seeds 10")
def train(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy")],
    data: options.Data = "navon",
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="classification or verification. Default: what the data is for."),
    ] = None,
    recipe: options.Recipe = "pico",
    recipe_set: options.RecipeSet = None,
    seeds: options.Seeds = None,
    epochs: Annotated[str | None, typer.Option("--epochs", metavar="N", help="Default: the recipe's.")] = None,
    budgets: Annotated[
        str | None,
        typer.Option("--budgets", metavar="N,N,…", help="Also judge shorter runs: epochs that branch off one run."),
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option("--tune", metavar="KEY=V,V,…", help="Choose per network on held-out images: lr=3e-4,1e-3,3e-3."),
    ] = None,
    tune_seeds: Annotated[
        str | None, typer.Option("--tune-seeds", metavar="N", help="Seeds per value of --tune. Default: 2.")
    ] = None,
    tune_epochs: Annotated[
        str | None,
        typer.Option("--tune-epochs", metavar="N", help="Epochs of --tune. Default: the largest budget."),
    ] = None,
    train_images: Annotated[
        str | None, typer.Option("--train-images", metavar="N", help="Images to learn from. Default: the data's.")
    ] = None,
    test_images: Annotated[
        str | None, typer.Option("--test-images", metavar="N", help="Images to be judged on. Default: the data's.")
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option("--batch-size", metavar="N", help="Images of a step. Default: the recipe's.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="SHARE", help="Share of one folder's images that is the test.")
    ] = None,
    skip_unreadable: Annotated[
        bool, typer.Option("--skip-unreadable", help="Go on without files that cannot be read.")
    ] = False,
    delta: Annotated[
        str, typer.Option("--delta", metavar="POINTS", help="Difference in accuracy that counts as none.")
    ] = "0.5",
    self_test: Annotated[
        bool, typer.Option("--self-test", help="The baseline against itself with other seeds: the noise floor.")
    ] = False,
    difficulty: Annotated[
        bool, typer.Option("--difficulty", help="Judge trained weights on smaller letters and noise, too (navon).")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print how many seeds a difference of 2 points needs. Default: from 3 seeds.")
    ] = False,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="POINTS", help="Add seeds until half the width of every interval is below."),
    ] = None,
    max_seeds: Annotated[
        str | None, typer.Option("--max-seeds", metavar="N", help="Seeds of --until at most. Default: 20.")
    ] = None,
    store: options.Store = None,
    jobs: options.Jobs = "1",
    executor: options.Executor = "local",
    workers: Annotated[str, typer.Option("--workers", metavar="N", help="Processes that read images.")] = "0",
    write_weights: Annotated[
        Path | None,
        typer.Option(
            "--write-weights",
            metavar="FOLDER",
            help="Write trained weights there, for --weights; a run whose weights are not there is trained again.",
        ),
    ] = None,
    suffix: Annotated[
        str, typer.Option("--weights-format", metavar="SUFFIX", help=f"{' or '.join(_SUFFIXES)}.")
    ] = ".safetensors",
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw every seed, pairs joined, and the differences.")
    ] = None,
    plot_budgets: Annotated[
        Path | None,
        typer.Option("--plot-budgets", metavar="FILE", help="Draw the differences at each of --budgets."),
    ] = None,
    curves: Annotated[Path | None, typer.Option("--curves", metavar="FILE", help="Draw the learning curves.")] = None,
    device: options.Device = "auto",
    threads: options.Threads = "1",
    seed: options.Seed = "0",
    baseline: Baseline = None,
    format: options.Format = None,
    output: options.Output = None,
) -> int:
    """Train networks in pairs of one seed and compare their accuracies: the last epoch, with a 95 % interval.

    Past one accelerator, torchrun spreads one run: torchrun --nproc-per-node=2 -m scsc_lab train ...
    """
    given = {
        "data": data,
        "recipe": recipe,
        "task": task,
        "epochs": _whole("--epochs", epochs),
        "batch_size": _whole("--batch-size", batch_size),
        "train_images": _whole("--train-images", train_images),
        "test_images": _whole("--test-images", test_images),
        "split": None if split is None else str(options.share("--split", split)),
        "skip_unreadable": str(skip_unreadable).lower(),
    }
    changed = overrides.parse(recipe_set or [], "--recipe-set")
    request = Request(
        device=options.device(device),
        threads=options.whole("--threads", threads, 4096),
        seed=options.seed(seed),
        seeds=(3 if plan else 10) if seeds is None else options.whole("--seeds", seeds, 1000),
        options=(
            *((key, value) for key, value in given.items() if value is not None),
            *((f"recipe.{key}", value) for key, value in changed.items()),
        ),
    )
    lengths = _budgets(budgets, epochs)
    pairs = (("--tune-seeds", tune_seeds, "--tune", tune), ("--tune-epochs", tune_epochs, "--tune", tune))
    for option, value, needed, other in (*pairs, ("--max-seeds", max_seeds, "--until", until)):
        if value is not None and other is None:
            raise InputError(f"{option} goes with {needed}: leave {option} out")
    if plot_budgets and len(lengths) < 2:
        raise InputError("--plot-budgets needs --budgets with two or more")
    processes, points = options.whole("--jobs", jobs), options.number("--delta", delta, 100)
    options.choice("--weights-format", suffix, _SUFFIXES)
    formats.choose(format, output)
    for figure in filter(None, (plot, curves, plot_budgets)):
        style.check(figure)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (store or processes > 1):
        raise InputError("torchrun spreads one run at a time: leave --store and --jobs out")
    if store:
        check_writable(store)
    if not write_weights:
        requests.require_without(context, ("suffix",), "no weights are written without --write-weights FOLDER")
    if write_weights:
        check_writable(write_weights / "weights.safetensors")

    import dataclasses

    from scsc_lab.analysis import sequential
    from scsc_lab.experiments import difficulty as curves_of
    from scsc_lab.experiments import runner, stopping, tuning
    from scsc_lab.experiments import train as studying
    from scsc_lab.metrics import accuracy, training
    from scsc_lab.training.plan import Training

    settings = dataclasses.replace(
        training.configure(request),
        workers=0 if workers == "0" else options.whole("--workers", workers, 1024),
        weights=str(write_weights) if write_weights else "",
        suffix=suffix,
    )
    longest = max(lengths, default=settings.plan.recipe.epochs)
    grid = None
    if tune is not None:
        tune_length = longest if tune_epochs is None else options.whole("--tune-epochs", tune_epochs)
        grid = tuning.grid(
            tune, options.whole("--tune-seeds", "2" if tune_seeds is None else tune_seeds, 1000), tune_length, settings
        )
    if until is not None and (seeds is not None or plan or not store):
        raise InputError("--until needs --store, whose runs it reuses, and decides the seeds: no --seeds, no --plan")
    if difficulty and (data != "navon" or not write_weights):
        raise InputError("--difficulty needs --data navon and --write-weights FOLDER")
    narrow = None if until is None else options.number("--until", until, 100)
    looks = (
        sequential.looks(options.whole("--max-seeds", "20" if max_seeds is None else max_seeds, 1000)) if narrow else ()
    )
    studying.check_budgets(lengths, settings)
    found, network_notes = networks.build()
    index = position(baseline, found)
    if not self_test and not plan and narrow is None:
        shared.warn_of_few_seeds([[found[index], *found]], ["accuracy"], request.seeds)
    kept = Store(store)
    if store and not grid and narrow is None:
        asked = studying.experiments(
            found, dict.fromkeys(found, settings), baseline=index, self_test=self_test, budgets=lengths
        )
        typer.echo(runner.status(asked, kept), err=True)
    from scsc_lab.training import processes as spread

    with spread.joined() as shard, _quiet(shard.rank > 0), runner.executor(executor, processes) as pool:
        with progress.stepwise() as told:

            def measure(own: Training, confidence: float = accuracy.CONFIDENCE) -> studying.Trained:
                return studying.measure(
                    found,
                    own,
                    baseline=index,
                    delta=points,
                    confidence=confidence,
                    self_test=self_test,
                    budgets=lengths,
                    grid=grid,
                    store=kept,
                    executor=pool,
                    progress=told,
                )

            if narrow is None:
                trained, stopped = measure(settings), list[str]()
            else:
                trained, look = stopping.until_narrow(measure, settings, looks, narrow)
                stopped = [stopping.note(look, looks, narrow)]
        if trained.interrupted and not trained.networks:
            raise KeyboardInterrupt
        if trained.interrupted and store:
            typer.echo(f"{store} keeps {len(kept.keys())} runs; the same command resumes", err=True)
            raise KeyboardInterrupt
        harder: list[Row] = []
        if difficulty:
            with progress.stepwise() as told:
                judged = runner.run([curves_of.experiment(trained.arms)], kept, pool, told)
            if judged.interrupted:
                raise KeyboardInterrupt
            harder = curves_of.summaries(curves_of.rows(judged.results[0]), str(trained.networks[0]["baseline"]))
        if plan:
            plans = stopping.plan(trained, stopping.DIFFERENCE)
            typer.echo("\n".join(stopping.lines(plans, stopping.DIFFERENCE, processes)), err=True)
        cut_short = ["CUT SHORT: runs are missing."] if trained.interrupted else []
        tuning_notes = tuning.notes(trained.tuned, grid) if grid else []
        notes = [
            *_notes(trained.networks),
            *stopped,
            *curves_of.findings(harder),
            *tuning_notes,
            *accuracy.notes(trained.networks),
            *network_notes,
            *cut_short,
        ]
        table = tables.table(trained.networks, trained.runs, notes, trained.budgets, trained.tuned, harder)
        where = next((str(row["device"]) for row in trained.runs), "cpu")
        if shard.rank == 0:
            formats.emit(table, run_info(where, request.seed), format, output)
            _draw(trained, plot, curves, plot_budgets)
    return 130 if trained.interrupted else 0


def _notes(rows: Sequence[Row]) -> list[str]:
    """Return which heads were replaced, and which settings make these numbers a probe."""
    found = []
    for row in rows:
        runs = row["runs"]
        assert isinstance(runs, list)
        if runs and runs[0]["head"]:
            found.append(f"{row['model']}: {runs[0]['head']}.")
    return found


def _draw(trained: Trained, plot: Path | None, curves: Path | None, plot_budgets: Path | None) -> None:
    from scsc_lab.report.figures import accuracy, budgets

    drawings: list[tuple[Path | None, Callable[[], Figure]]] = [
        (plot, lambda: accuracy.draw(trained.networks)),
        (curves, lambda: accuracy.curves(trained.networks)),
        (plot_budgets, lambda: budgets.draw(trained.budgets)),
    ]
    for path, draw in drawings:
        if path is not None:
            style.save(draw(), path)
            typer.echo(f"figure: {path}", err=True)


def _budgets(text: str | None, epochs: str | None) -> list[int]:
    """Return the budgets, in epochs; none unless they are named."""
    if text is None:
        return []
    if epochs is not None:
        raise InputError("--budgets and --epochs both name epochs: leave --epochs out")
    return sorted(options.whole("--budgets", part.strip()) for part in text.split(","))


def _whole(option: str, text: str | None) -> str | None:
    return None if text is None else str(options.whole(option, text))


@contextlib.contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Let a process that is not the first say nothing."""
    if not wanted:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
    sys.stdout.flush()
