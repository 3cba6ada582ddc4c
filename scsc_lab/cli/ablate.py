"""``scsc-lab ablate``: what each part of SCSC costs, every mixer in one network, and grids of your own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scsc_lab import metrics, runtimes
from scsc_lab.cli import options, progress, requests, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Without, command
from scsc_lab.database import Store
from scsc_lab.errors import InputError
from scsc_lab.experiments import variants as studied
from scsc_lab.provenance import run_info
from scsc_lab.records import file_name
from scsc_lab.report import ablations
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Column, Table
from scsc_lab.settings import Drawing
from scsc_lab.store import check_writable

if TYPE_CHECKING:
    from scsc_lab.architectures.network import Network
    from scsc_lab.experiments.variants import Variant

_DEFAULT = "params,macs,activations,bytes"
_STUDIES = (
    f"{', '.join(studied.STUDIES)}; default: all of these. {studied.MIXERS}: every mixer, and those of --mixer, in "
    "place of the spatial operators of any network."
)


@command(example="scsc-lab ablate scsc_swin_tiny --study components")
def ablate(
    context: typer.Context,
    networks: Annotated[Networks, Without("model", "deploy")],
    study: Annotated[
        list[str] | None,
        typer.Option("--study", metavar="NAME", help=_STUDIES),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="KEY=V1,V2", help="Study of your own; repeatable. Lists: kernels='3,5;3,5,7'."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file with a [grid] of lists, or studies = [].")
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = "1",
    runtime: options.Runtime = runtimes.USUAL,
    pairs: options.Pairs = "32",
    max_time: Annotated[str, typer.Option("--max-time", metavar="SECONDS", help="Time no longer than this.")] = "15",
    samples: Annotated[str, typer.Option("--samples", metavar="N", help="Images for receptive fields.")] = "8",
    stage: options.FieldStage = None,
    seed: options.Seed = "0",
    seeds: options.Seeds = None,
    data: options.Data = "navon",
    recipe: options.Recipe = "pico",
    recipe_set: options.RecipeSet = None,
    batch: options.Batch = "1",
    with_: Annotated[
        str,
        typer.Option("--with", metavar="COLUMNS", help=f"Of {', '.join(metrics.words())}."),
    ] = _DEFAULT,
    store: options.Store = None,
    jobs: options.Jobs = "1",
    executor: options.Executor = "local",
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="FOLDER", help="Folder of the figures. Default: ablation_MODEL."),
    ] = None,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Draw a figure a study.")] = True,
    width: options.Width = None,
    no_titles: options.NoTitles = False,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Measure variants of a network, each against the full one, and draw a figure a study.

    A key of --grid is one of --set, or rule.KEY for a rule of --transplant.
    """
    if len(networks.names) > 1:
        raise InputError("an ablation has one network: name one model")
    words = options.several("--with", with_, tuple(metrics.words()))
    processes = options.whole("--jobs", jobs)
    request = requests.read(context, words)
    words = metrics.with_extra_columns(words, request)
    formats.choose(format, output)
    drawing = options.figures(width, no_titles)
    studies, axes = list(study or []), list(grid or [])
    configured = _configured(config)
    if store:
        check_writable(store)
    drawn_by = [
        option for option, value in (("--figures", figures), ("--width", width), ("--no-titles", no_titles)) if value
    ]
    if drawn_by and not draw:
        raise InputError(f"--no-draw draws nothing: leave {drawn_by[0]} out")
    if draw:
        check_writable((figures or Path()) / "ablation.png")
    kept = Store(store)

    from scsc_lab.experiments import ablate as studying
    from scsc_lab.experiments import runner

    built, network_notes = networks.build()
    variants = _variants(built, [*studies, *configured["studies"]], axes, configured["grid"])
    shared.warn_of_few_seeds([[variant.network for variant in variants]], words, request.seeds)
    experiment = studying.experiment(variants, words, request)
    if store:
        typer.echo(runner.status([experiment], kept), err=True)
    with (
        runner.executor(executor, processes) as pool,
        progress.stepwise() as advance,
    ):
        measured = runner.run([experiment], kept, pool, advance)
    if measured.interrupted:
        if store:
            typer.echo(f"{store} keeps {len(kept.keys())} measurements; the same command resumes", err=True)
        raise KeyboardInterrupt
    (result,) = measured.results
    rows = result.rows
    columns = [metrics.columns()[word] for word in words]
    notes = [*result.notes, *network_notes]
    table = ablations.ablation_tables(rows, columns, notes)
    device = next((str(row["device"]) for row in rows if row.get("device")), "cpu")
    formats.emit(table, run_info(device, request.seed), format, output)
    if draw:
        _draw(table, columns, figures or Path(f"ablation_{file_name(str(variants[0].network))}"), drawing)


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
