"""``scsc-lab ablate``: what each part of SCSC costs, and grids of your own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scsc_lab.analysis.protocol import Protocol
from scsc_lab.architectures import overrides as spec_changes
from scsc_lab.cli import options, progress
from scsc_lab.errors import InputError
from scsc_lab.provenance import run_info
from scsc_lab.records import file_name
from scsc_lab.report import ablations
from scsc_lab.report import render as formats
from scsc_lab.report.figures import style
from scsc_lab.report.tables import Table
from scsc_lab.settings import Budget, Plan
from scsc_lab.store import RowStore, check_writable

if TYPE_CHECKING:
    from scsc_lab.architectures.catalog import Network
    from scsc_lab.experiments.variants import Variant

_BUDGET = Budget(pairs=32, min_seconds=0.0, max_seconds=15.0)
"""How long each variant is timed against the full network, where latency is asked for."""

_SAMPLES = 8
"""Images for each variant's receptive field, where that is asked for."""


def ablate(
    model: Annotated[str, typer.Argument(metavar="MODEL", autocompletion=options.complete_model, help="The network.")],
    study: Annotated[
        list[str] | None,
        typer.Option("--study", metavar="NAME", help="components, kernels, scales, groups, stages; default: all."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", metavar="KEY=V1,V2", help="Study of your own; repeatable. Lists: kernels='3,5;3,5,7'."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file with a [grid] of lists, or studies = [].")
    ] = None,
    set_: options.Changes = None,
    resolution: options.Resolution = None,
    batch: options.Batch = "1",
    with_: Annotated[
        str,
        typer.Option("--with", metavar="METRICS", help="Of params,macs,activations,bytes,latency,erf."),
    ] = "params,macs,activations,bytes",
    store: Annotated[
        Path | None,
        typer.Option("--store", metavar="FILE", help="Keep rows in this JSON-lines file; skip those it has."),
    ] = None,
    jobs: Annotated[str, typer.Option("--jobs", metavar="N", help="Processes that count.")] = "1",
    executor: Annotated[
        str, typer.Option("--executor", metavar="ADDRESS", help="local, or a Dask scheduler, tcp://host:8786.")
    ] = "local",
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="FOLDER", help="Folder of the figures. Default: ablation_MODEL."),
    ] = None,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Draw a figure a study.")] = True,
    format: options.Format = None,
    output: options.Output = None,
) -> None:
    """Measure variants of an SCSC network, each against the full one, and draw a figure a study."""
    size, images = options.resolution(resolution), options.whole("--batch", batch)
    metrics, processes = (
        options.several("--with", with_, tuple(ablations.ABLATION_COLUMNS)),
        options.whole("--jobs", jobs),
    )
    formats.choose(format, output)
    studies, axes = list(study or []), list(grid or [])
    configured = _configured(config)
    if store:
        check_writable(store)
    if draw:
        check_writable((figures or Path()) / "ablation.png")
    rows_kept = RowStore(store) if store else None

    from scsc_lab.experiments import ablate as studying
    from scsc_lab.experiments import variants as studied

    network = studied.resolve(model, spec_changes.parse(set_ or []))
    variants = _variants(network, [*studies, *configured["studies"]], axes, configured["grid"])
    probe = size or network.entry.resolution
    plan = Plan(budget=_BUDGET, batches=(images,), resolution=probe) if "latency" in metrics else None
    protocol = Protocol(samples=_SAMPLES, resolution=probe) if "erf" in metrics else None
    tasks = studying.tasks(variants, probe, images, plan, protocol)
    if rows_kept:
        known = {row.get("key") for row in rows_kept.rows}
        keys = {task.key for task in tasks}
        skipped = len(keys & known)
        repaired = "; a torn last line was cut off" if rows_kept.repaired else ""
        typer.echo(f"{store}: {skipped} of {len(keys)} measurements are there already{repaired}", err=True)
    try:
        with (
            studying.executor(executor, processes) as pool,
            progress.counted("measuring variants", len(tasks)) as advance,
        ):
            rows = list(studying.run(tasks, rows_kept, pool, advance))
    except KeyboardInterrupt:
        if rows_kept:
            typer.echo(f"{store}: {len(rows_kept.rows)} rows are kept; the same command goes on from there", err=True)
        raise
    table = ablations.ablation_tables(rows, metrics)
    formats.emit(table, run_info(next((row["device"] for row in rows if "device" in row), "cpu")), format, output)
    if draw:
        _draw(table, metrics, figures or Path(f"ablation_{file_name(network.label)}"))


def _variants(
    network: Network, studies: Sequence[str], axes: Sequence[str], configured: Mapping[str, Sequence[object]]
) -> list[Variant]:
    from scsc_lab.experiments import variants as studied

    found = []
    if studies or not (axes or configured):
        found += studied.built_in(network, studies)
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
    for key, values in grid.items():
        if not isinstance(values, list):
            raise InputError(f"{path}: {key} = {values!r}: a list of values is needed")
    return {"studies": content.get("studies", []), "grid": grid}


def _draw(table: Table, metrics: Sequence[str], folder: Path) -> None:
    from scsc_lab.report.figures import ablation

    headings = ablations.headings(metrics)
    for part in (table, *table.details):
        path = folder / f"ablation_{part.rows[0]['study']}.png"
        style.save(ablation.draw(part.rows, headings), path)
        typer.echo(f"figure: {path}", err=True)
