"""``scsc-lab roofline``: why fewer MACs need not be less time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Only, Without, command, option
from scsc_lab.report import roofline as tables
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing, Execution, Output, Settings, Timing


@command(first="--resolution --batch --threads --plot --output")
def roofline(
    context: typer.Context,
    networks: Annotated[Networks, Without("deploy", "input")],
    timing: Annotated[Timing, Only("pairs", "max_seconds", "min_seconds", "warm_up_seconds")],
    execution: Annotated[Execution, Without("streams", "train")],
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    plot: Annotated[
        Path | None, option("Draw the roofline to this file.", "--plot", metavar="FILE", panel="Output")
    ] = None,
) -> int:
    """Compare each kind of module with the roofs of this machine: peak MACs and memory bandwidth."""
    if plot is None:
        shared.require_without(context, ("width", "titles"), "nothing is drawn without --plot FILE")
    else:
        style.check(plot)
    settings = Settings(execution, timing)
    store = running.opened(output)

    from scsc_lab.experiments import compare

    built = networks.build()
    experiment = compare.experiment(built.networks, ["roof"], settings)
    measured = running.measure([experiment], store)
    (result,) = measured.results
    table = tables.roofline_table(result.rows, result.notes)
    device = running.device_of(result.rows)
    code = running.show(table, output, built, device=device, seed=execution.seed, cut=measured.interrupted)
    if plot is not None:
        from scsc_lab.report.figures import roofline as figure

        style.save(figure.draw(result.rows, drawing), plot)
        typer.echo(f"figure: {plot}", err=True)
    return code
