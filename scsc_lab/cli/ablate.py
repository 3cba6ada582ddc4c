"""``scsc-lab ablate``: what each part of SCSC costs, every mixer in one network, and grids of your own."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from scsc_lab import metrics
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.execution.pools import Parallel
from scsc_lab.experiments import compare
from scsc_lab.experiments import variants as studied
from scsc_lab.files import check_writable, read_text
from scsc_lab.records import file_name
from scsc_lab.report import comparison
from scsc_lab.report.accuracy import with_schedule
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing, Output, Schedule, Settings

_STUDIES = (*studied.STUDIES, studied.MIXERS)


@command(first="--grid --vary --study --with --store")
def ablate(
    context: typer.Context,
    networks: Annotated[Networks, Without("model", "deploy")],
    execution: shared.MeasuredIn,
    timing: shared.Timed,
    fields: shared.Drawn,
    training: shared.Trained,
    schedule: Schedule,
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    parallel: Parallel,
    study: Annotated[
        tuple[str, ...],
        option(
            "Built-in study. Repeatable. Default: all but mixers, which puts every mixer in place of the spatial "
            "operators of any network.",
            "--study",
            choices=_STUDIES,
        ),
    ] = (),
    grid: Annotated[
        tuple[str, ...],
        option("Study of all combinations. Repeatable. Lists: kernels='3,5;3,5,7'.", "--grid", metavar="KEY=V1,V2"),
    ] = (),
    vary: Annotated[
        tuple[str, ...],
        option("Study of one factor at a time: a variant per value. Repeatable.", "--vary", metavar="KEY=V1,V2"),
    ] = (),
    config: Annotated[
        Path | None,
        option("TOML file with a [grid] or [vary] of lists, or studies = [].", "--config", metavar="FILE"),
    ] = None,
    columns: shared.Columns = compare.COUNTED,
    figures: Annotated[
        Path | None, output_file("Folder of the figures. Default: ablation_MODEL.", "--figures", "FOLDER")
    ] = None,
    draw: Annotated[bool, option("Draw one figure per study.", "--draw/--no-draw", panel="Output")] = True,
) -> int:
    """Measure variants of a network, each against the full one, and draw one figure per study.

    A key of --grid or --vary is one of --set, or rule.KEY for a rule of --transplant.
    """
    if len(networks.names) > 1:
        raise InputError("an ablation has one network: name one model")
    settings = shared.checked_settings(context, columns, Settings(execution, timing, fields, training), schedule)
    column_words = metrics.with_extra_columns(columns, settings)
    configured = _configured(config)
    if draw:
        check_writable((figures or Path()) / "ablation.png")
    else:
        shared.require_without(context, ("figures", "width", "titles"), "--no-draw draws nothing")
    store = running.opened(output)

    built = networks.build()
    network = built.networks[-1]
    studies = [*study, *configured["studies"]]
    grids = {**configured["grid"], **studied.parse_axes(network, grid)}
    factors = {**configured["vary"], **studied.parse_axes(network, vary, "--vary")}
    variants = studied.built_in(network, studies, built.networks) if studies or not (grids or factors) else []
    variants += studied.of_values(network, factors, grids) if grids or factors else []
    shared.warn_of_few_seeds(
        [[variant.network for variant in variants]], column_words, training.seeds, schedule.budgets
    )
    experiment = compare.ablation(variants, column_words, settings)
    trained = running.train(experiment, schedule, store, parallel=parallel, status=True)
    if trained.interrupted:
        raise KeyboardInterrupt
    result = trained.results[-1]
    shown_columns = [metrics.columns()[column] for column in column_words]
    table = comparison.ablation_tables(result.rows, shown_columns, result.notes)
    scheduled = with_schedule(table, trained.budgets, trained.tuned)
    code = running.show(scheduled, output, built, seed=execution.seed)
    if draw:
        _draw(table, shown_columns, figures or Path(f"ablation_{file_name(str(variants[0].network))}"), drawing)
    return code


def _configured(path: Path | None) -> dict[str, Any]:
    """Return the studies, the grid and the factors of a TOML file.

    Raises:
        InputError: if it cannot be read, or holds anything else.
    """
    content: dict[str, Any] = {"studies": [], "grid": {}, "vary": {}}
    if path is None:
        return content
    try:
        read = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    for key, value in read.items():
        if key not in content or not isinstance(value, type(content[key])):
            raise InputError(f"{path}: {key!r} is not known: a [grid] or [vary] of lists, or studies = ['components']")
    for name in read.get("studies", []):
        if not isinstance(name, str):
            raise InputError(f"{path}: studies has {name!r}: names are due, e.g. studies = ['components']")
    for key, values in {**read.get("grid", {}), **read.get("vary", {})}.items():
        if not isinstance(values, list):
            raise InputError(f"{path}: {key} = {values!r}: a list of values is needed")
    return {**content, **read}


def _draw(table: Table, columns: Sequence[Column], folder: Path, drawing: Drawing) -> None:
    from scsc_lab.report.figures import forest

    for part in (table, *table.details):
        path = folder / f"ablation_{file_name(str(part.rows[0]['study']))}.png"
        running.save_figure(forest.draw(part.rows, columns, drawing, alongside=table.raw), path)
