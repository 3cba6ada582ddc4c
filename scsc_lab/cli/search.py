"""``scsc-lab search``: which settings of a network are best under budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from scsc_lab import metrics
from scsc_lab.cli import running, shared
from scsc_lab.cli.networks import Networks
from scsc_lab.cli.parameters import Only, Without, command, option, output_file
from scsc_lab.errors import InputError
from scsc_lab.execution.pools import Parallel
from scsc_lab.experiments.search import goals
from scsc_lab.networks import space
from scsc_lab.networks.network import Network
from scsc_lab.report import sweep as tables
from scsc_lab.report.figures import style
from scsc_lab.settings import Drawing, Output, Settings, texts

Sampler = Literal["auto", "exact", "tpe", "nsga2", "nsga3", "random"]
"""Choice of combinations; ``auto``: all of them where counts decide, else ``tpe``."""


def _columns(purpose: str, name: str) -> Any:
    names = metrics.column_names
    return option(purpose, name, metavar="COLUMNS", choices=tuple(names()), parse=texts.some_of(names))


def _most(quantity: str, column: str) -> Any:
    name = f"--max-{column}"
    return option(quantity, name, metavar="N", parse=lambda text: goals.Budget(goals.bound(column, text, name), True))


@command(first="--space --minimise --max-macs --budget --store")
def search(
    context: typer.Context,
    networks: Annotated[Networks, Only("models", "set", "weights", "resolution", "channels")],
    execution: shared.MeasuredIn,
    timing: shared.Timed,
    fields: shared.Drawn,
    training: shared.Trained,
    drawing: Annotated[Drawing, Without("panels")],
    output: Output,
    parallel: Parallel,
    spaces: Annotated[
        tuple[str, ...],
        option(
            "Keys to vary, comma-separated, or KEY=VALUES: groups=1,2,4, kernels=3,5;3,7,11, embed_dim=64..128:8 or "
            "rule.mixer=scsc,focal. Repeatable.",
            "--space",
            metavar="KEYS",
            repeated=True,
        ),
    ] = (),
    minimise: Annotated[tuple[str, ...], _columns("Columns to minimise, comma-separated.", "--minimise")] = (),
    maximise: Annotated[tuple[str, ...], _columns("Columns to maximise, comma-separated.", "--maximise")] = (),
    near: Annotated[
        tuple[tuple[str, str], ...],
        option(
            "Come near to parameters or MACs, e.g. macs=3.5G or macs=-22%. Repeatable.",
            "--near",
            metavar="COLUMN=VALUE",
            parse=texts.assignment,
            repeated=True,
        ),
    ] = (),
    max_macs: Annotated[goals.Budget | None, _most("Most MACs, e.g. 3.5G, or -22%.", "macs")] = None,
    max_params: Annotated[goals.Budget | None, _most("Most parameters, e.g. 25M.", "params")] = None,
    budget: Annotated[
        tuple[goals.Budget, ...],
        option(
            "Bound on any column, e.g. 'latency<=5' (ms), 'latency<=-10%' or 'accuracy>=90'. Repeatable.",
            "--budget",
            metavar="BOUND",
            parse=goals.budget,
            repeated=True,
        ),
    ] = (),
    trials: Annotated[
        int, option("Trials in all, those of earlier runs included.", "--trials", low=1, metavar="N")
    ] = 100,
    max_runs: Annotated[
        int,
        option(
            "Training runs of all trials; the front's last measurement adds its own.", "--max-runs", low=1, metavar="N"
        ),
    ] = 100,
    sampler: Annotated[
        Sampler, option("Optuna's sampler; exact counts all combinations; auto does where it can.", "--sampler")
    ] = "auto",
    study: Annotated[
        str | None,
        option("Database of Optuna's study. Default: that of --store.", "--study", metavar="URL", panel="Output"),
    ] = None,
    figure: Annotated[Path | None, output_file("Draw all trials and the front to this file.", "--figure")] = None,
    baseline: Annotated[
        str | None,
        option(
            "Network to compare with. Default: the searched one, unchanged.",
            "--baseline",
            metavar="NAME",
            panel="Networks",
        ),
    ] = None,
) -> int:
    """Search settings of a network for the best under budgets: exactly where counts decide, else by trials.

    Exit code 1: no network keeps to the budgets.
    """
    chosen_goals = goals.Goals(
        (
            *(goals.objective(column, "lower", "--minimise") for column in minimise),
            *(goals.objective(column, "higher", "--maximise") for column in maximise),
            *(goals.near(column, value) for column, value in near),
        ),
        (*(bound for bound in (max_macs, max_params) if bound is not None), *budget),
    )
    if len(networks.names) != 1:
        raise InputError(f"a search varies one network; {len(networks.names) or 'none'} named")
    if study and not output.store:
        raise InputError("--study keeps trials, and --store FILE their rows: name both")
    store = running.opened(output)
    if figure:
        style.check(figure)
    else:
        shared.require_without(context, ("width", "titles"), "nothing is drawn without --figure FILE")
    settings = Settings(execution, timing, fields, training)
    settings = shared.checked_settings(context, chosen_goals.columns, settings, acting=("seed",))
    space.parse(
        Network.read(networks.names[0]).changed(networks.changes()), spaces
    )  # a mistake shows before torch is here

    from scsc_lab.experiments.search import exact, sampled
    from scsc_lab.experiments.search.exact import Search
    from scsc_lab.models import names

    built = networks.build()
    if built.failures:
        raise InputError(str(built.failures[0]["failure"]))
    network = built.networks[0]
    reference = network
    if baseline is not None:
        reference = names.networks([baseline], resolution=networks.resolution)[0]
    question = Search(space.parse(network, spaces), chosen_goals, reference, settings, trials, max_runs)
    enumerates = sampler in ("auto", "exact") and exact.is_exact(question)
    if sampler == "exact" and not enumerates:
        raise InputError("--sampler exact: only params and macs of a plain network of the catalog are enumerated")
    if enumerates:
        idle = ("trials", "max_runs", "study", "store", "jobs", "executor", "executor_timeout", "seed")
        shared.require_without(context, idle, "all combinations are counted here (--sampler tpe tries some)")
        with running.stepwise() as report:
            result = exact.run(question, report)
    else:
        chosen: Any = "tpe" if sampler == "auto" else sampler
        with parallel.pool() as pool, running.stepwise() as report:
            result = sampled.run(replace(question, sampler=chosen), store, study or "", pool, parallel.jobs, report)
    code = _show(result, built.notes, output)
    if figure:
        _draw(result, figure, drawing)
    return code


def _show(result: Any, notes: Sequence[str], output: Output) -> int:
    columns = [metrics.columns()[column] for column in _shown_columns(result)]
    front = [result.baseline, *(result.rows[at] for at in result.front)]
    again = [result.confirmed[at] for at in (-1, *result.front)] if result.confirmed else []
    search = result.search
    title = f"{search.space.network}, {search.space.size:,} combinations: {search.goals}"
    lines = tables.notes_on_trials(result.given_up, result.tried, enumerated=result.is_exact)
    if again:
        lines.append(
            "Figures are new measurements, side by side and with fresh seeds; “in its trial” is the trial's figure."
        )
    if result.interrupted:
        lines.append("INTERRUPTED: the front so far.")
    elif not result.front:
        lines.append("No network meets the budgets.")
    measured = metrics.notes([row for row in (again or front) if row], search.goals.columns)
    table = tables.search_table(front, again, columns, title, [*lines, *measured, *notes])
    code = running.show(table, output, seed=search.settings.execution.seed, cut=result.interrupted)
    return code or int(not result.front)


def _shown_columns(result: Any) -> list[str]:
    names = [goal.name for goal in result.search.goals.objectives]
    names += [budget.bound.name for budget in result.search.goals.budgets]
    return list(dict.fromkeys([*names, *(("macs", "params") if result.is_exact else ())]))


def _draw(result: Any, path: Path, drawing: Drawing) -> None:
    from scsc_lab.report.figures import sweep as figures
    from scsc_lab.report.tables import Column

    axes = [tables.axis(metrics.columns()[name]) for name in _shown_columns(result)]
    y, x = (axes[0], axes[1]) if len(axes) > 1 else (axes[0], Column("trial", "trial"))
    baseline = {**result.baseline, **{column.key: 1.0 for column in (x, y) if str(column.key).endswith("ratio")}}
    bounds = [budget.bound for budget in result.search.goals.budgets]
    lines = [(bound.name, _on_axis(bound, result.baseline)) for bound in bounds]
    picture = figures.draw_search(
        result.dots or result.rows, [result.rows[at] for at in result.front], baseline, x, y, lines, drawing
    )
    running.save_figure(picture, path)


def _on_axis(bound: goals.Bound, baseline: dict[str, Any]) -> float:
    column = metrics.columns()[bound.name]
    if column.is_timed:
        return 1 + bound.number if bound.is_relative else bound.number / baseline[str(column.key)]
    return column.scale * bound.absolute(baseline)
