"""``scsc-lab ablate``: what each part of SCSC costs, every mixer in one network, and grids of your own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scsc_lab import metrics, runtimes
from scsc_lab.cli import progress, requests, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command, option
from scsc_lab.database import Store
from scsc_lab.errors import InputError
from scsc_lab.experiments import variants as studied
from scsc_lab.metrics.latency import with_runtimes
from scsc_lab.provenance import run_info
from scsc_lab.records import file_name
from scsc_lab.report import ablations
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing, Output, Settings
from scsc_lab.store import check_writable

if TYPE_CHECKING:
    from scsc_lab.experiments.variants import Variant
    from scsc_lab.networks.network import Network

_DEFAULT = ("params", "macs", "activations", "bytes")
_STUDIES = (*studied.STUDIES, studied.MIXERS)


@command(example="scsc-lab ablate scsc_swin_tiny --study components")
def ablate(
    context: typer.Context,
    networks: Annotated[Networks, Without("model", "deploy")],
    execution: shared.MeasuredIn,
    timing: shared.Timed,
    fields: shared.Drawn,
    training: shared.Trained,
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
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
        option("Study of your own. Repeatable. Lists: kernels='3,5;3,5,7'.", "--grid", metavar="KEY=V1,V2"),
    ] = (),
    config: Annotated[
        Path | None, option("TOML file with a [grid] of lists, or studies = [].", "--config", metavar="FILE")
    ] = None,
    columns: shared.Columns = _DEFAULT,
    store: shared.Store = None,
    jobs: shared.Jobs = 1,
    executor: shared.Executor = "local",
    figures: Annotated[
        Path | None,
        option("Folder of the figures. Default: ablation_MODEL.", "--figures", metavar="FOLDER", panel="Output"),
    ] = None,
    draw: Annotated[bool, option("Draw one figure per study.", "--draw/--no-draw", panel="Output")] = True,
) -> None:
    """Measure variants of a network, each against the full one, and draw one figure per study.

    A key of --grid is one of --set, or rule.KEY for a rule of --transplant.
    """
    if len(networks.names) > 1:
        raise InputError("an ablation has one network: name one model")
    settings = with_runtimes(Settings(execution, timing, fields, training), columns)
    runtimes.check(settings.timing.runtimes, execution)
    requests.require_used(context, columns, settings)
    words = metrics.with_extra_columns(columns, settings)
    formats.choose(output.format, output.output)
    configured = _configured(config)
    if store:
        check_writable(store)
    if draw:
        check_writable((figures or Path()) / "ablation.png")
    else:
        requests.require_without(context, ("figures", "width", "titles"), "--no-draw draws nothing")
    kept = Store(store)

    from scsc_lab.experiments import ablate as studying
    from scsc_lab.experiments import runner

    built, network_notes = networks.build()
    variants = _variants(built, [*study, *configured["studies"]], grid, configured["grid"])
    shared.warn_of_few_seeds([[variant.network for variant in variants]], words, training.seeds)
    experiment = studying.experiment(variants, words, settings)
    if store:
        typer.echo(runner.status([experiment], kept), err=True)
    with runner.executor(executor, jobs) as pool, progress.stepwise() as report:
        measured = runner.run([experiment], kept, pool, report)
    if measured.interrupted:
        if store:
            typer.echo(f"{store} keeps {len(kept.keys())} measurements; the same command resumes", err=True)
        raise KeyboardInterrupt
    (result,) = measured.results
    shown = [metrics.columns()[word] for word in words]
    table = ablations.ablation_tables(result.rows, shown, [*result.notes, *network_notes])
    device = next((str(row["device"]) for row in result.rows if row.get("device")), "cpu")
    formats.emit(table, run_info(device, execution.seed), output.format, output.output)
    if draw:
        _draw(table, shown, figures or Path(f"ablation_{file_name(str(variants[0].network))}"), drawing)


def _variants(
    given: Sequence[Network], studies: Sequence[str], axes: Sequence[str], configured: Mapping[str, Sequence[object]]
) -> list[Variant]:
    found, network = [], given[-1]
    if studies or not (axes or configured):
        found += studied.built_in(network, studies, given)
    if axes or configured:
        found += studied.grid(network, {**configured, **studied.parse_axes(network, axes)})
    return found


def _configured(path: Path | None) -> dict[str, Any]:
    """Return the studies and the grid of a TOML file.

    Raises:
        InputError: if it cannot be read, or holds anything else.
    """
    if path is None:
        return {"studies": [], "grid": {}}
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from None
    known = {"studies": list, "grid": dict}
    for key, value in content.items():
        if key not in known or not isinstance(value, known[key]):
            raise InputError(f"{path}: {key!r} is not known: a [grid] of lists, or studies = ['components']")
    grid = content.get("grid", {})
    for name in content.get("studies", []):
        if not isinstance(name, str):
            raise InputError(f"{path}: studies has {name!r}: names are due, e.g. studies = ['components']")
    for key, values in grid.items():
        if not isinstance(values, list):
            raise InputError(f"{path}: {key} = {values!r}: a list of values is needed")
    return {"studies": content.get("studies", []), "grid": grid}


def _draw(table: Table, columns: Sequence[Column], folder: Path, drawing: Drawing) -> None:
    from scsc_lab.report.figures import ablation

    for part in (table, *table.details):
        path = folder / f"ablation_{file_name(str(part.rows[0]['study']))}.png"
        style.save(ablation.draw(part.rows, columns, drawing, alongside=table.raw), path)
        typer.echo(f"figure: {path}", err=True)
