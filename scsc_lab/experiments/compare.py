"""Networks side by side: what each metric finds, the user's own values, and the change against a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from scsc_lab import metrics, units
from scsc_lab.architectures.network import Network
from scsc_lab.experiments import diff, runner
from scsc_lab.experiments.runner import Progress
from scsc_lab.records import Row
from scsc_lab.report.tables import Change, Column, with_changes
from scsc_lab.settings import Request
from scsc_lab.store import RowStore


@dataclass(frozen=True)
class Comparison:
    """Networks side by side.

    Attributes:
        rows: one a network, with its changes against the row whose ``model`` is its ``baseline``.
        columns: what was asked for, and the user's own.
        notes: what must be known to read it.
        interrupted: whether a keyboard interrupt ended it before all was measured.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    interrupted: bool = False


def measure(
    networks: Sequence[Network],
    words: Sequence[str],
    request: Request | None = None,
    *,
    baseline: int = 0,
    own: Mapping[str, Mapping[str, float]] | None = None,
    store: RowStore | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Return networks side by side, each with its change against the baseline.

    Args:
        networks: the networks.
        words: what they are compared by: words of :func:`scsc_lab.metrics.words`.
        request: what is said about measuring.
        baseline: which network the others are compared with.
        own: the user's own values by metric by network, under ``user:<metric>`` in the rows.
        store: where rows are added as they are measured; what it has is not measured again.
        executor: where that is measured which may run anywhere; this process without one.
        progress: told what is being measured, the number of things done and to do.

    Raises:
        InputError: if a network does not take its input, or two have one name.
    """
    request = request or Request()
    labels = [str(network) for network in networks]
    runner.check_names(networks)
    words = metrics.asked(words, request)
    wanted = metrics.chosen(words)
    measured = runner.run(runner.tasks(wanted, networks, request, baseline), store, executor, progress)
    rows = runner.merged(measured.rows, networks, request)
    for row in rows:
        row |= {f"user:{metric}": value for metric, value in (own or {}).get(str(row["model"]), {}).items()}
        row["baseline"] = labels[baseline]
    columns = (*(metrics.columns()[word] for word in words), *user_columns(rows))
    changed = with_changes(rows, [column for metric in wanted for column in metric.columns], baseline)
    changed = with_changes(changed, user_columns(rows), baseline)
    names = ", ".join(column.word for column in user_columns(rows))
    notes = metrics.notes(changed, words) + ([f"Yours: {names}, from the file given."] if names else [])
    return Comparison(tuple(changed), columns, tuple(notes), measured.interrupted)


def user_columns(rows: Sequence[Row]) -> list[Column]:
    """Return the columns of the user's own metrics that any row has; which way is better nobody has said."""
    names = dict.fromkeys(key.removeprefix("user:") for row in rows for key in row if key.startswith("user:"))
    return [
        Column(
            f"user:{name}",
            f"{name}, yours",
            word=name,
            name=name,
            change=Change(Column(f"change_of_user:{name}", f"Δ {name}, yours", units.signed), "difference"),
        )
        for name in names
    ]


def side_by_side(networks: Sequence[Network], by: str, batch: int = 1) -> list[Row]:
    """Return two networks stage by stage or block by block; see :mod:`scsc_lab.experiments.diff`."""
    from scsc_lab.metrics.size import counted
    from scsc_lab.models import build

    counts = [counted(network, batch).count for network in networks]
    return diff.rows([build.empty(network) for network in networks], counts, by)
