"""What the options of a command say about measuring, as a request; an option that changes nothing is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import typer

from scsc_lab import metrics
from scsc_lab.cli import options
from scsc_lab.errors import InputError
from scsc_lab.metrics import latency
from scsc_lab.settings import Request

_MEASURING = (*("batch", "max_time", "pairs", "samples", "stage", "seeds", "runtime", "data", "recipe", "recipe_set"),)
"""Parameters of commands that only some metrics read. Device, threads and seed are of whatever needs them."""


def read(context: typer.Context, words: Sequence[str], base: Request | None = None) -> Request:
    """Return the request that a command's options make.

    Args:
        context: the command's, with the values of its options; what it has no option for is as in the base.
        words: what networks are compared by.
        base: the request without options.

    Raises:
        InputError: if a value is wrong, or an option changes nothing of what is measured by these words.
    """
    request = _request(context.params, words, base or Request())
    defaults = {parameter.name: parameter.default for parameter in context.command.params}
    for name, option in explicit(context).items():
        if name not in _MEASURING or context.params[name] == defaults[name]:
            continue
        usual = _request({**context.params, name: defaults[name]}, words, base or Request())
        if not _differing(metrics.chosen(words), request, usual):
            acting = _differing(metrics.registry().values(), request, usual)
            raise InputError(f"{option} changes nothing of {', '.join(words)}: it goes with {' or '.join(acting)}")
    return request


def explicit(context: typer.Context) -> dict[str, str]:
    """Return the parameters that the command line names, each with the longest word for it."""
    named = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            word = "the models" if parameter.param_type_name == "argument" else max(parameter.opts, key=len)
            named[str(parameter.name)] = word
    return named


def require_only(context: typer.Context, allowed: Collection[str], reason: str) -> None:
    """Raise InputError if the command line names a parameter that does nothing here.

    Args:
        context: the command's.
        allowed: names of the parameters that act.
        reason: how the complaint begins, ``--from measures nothing`` say.
    """
    require_without(context, explicit(context).keys() - set(allowed), reason)


def require_without(context: typer.Context, idle: Collection[str], reason: str) -> None:
    """Raise InputError if the command line names one of the parameters that do nothing here."""
    for name, option in explicit(context).items():
        if name in idle:
            raise InputError(f"{reason}: leave {option} out")


def _request(given: Mapping[str, Any], words: Sequence[str], base: Request) -> Request:
    drawn = given.get("seeds")
    training = options.training(given["data"], given["recipe"], given["recipe_set"])
    return replace(
        base,
        device=options.device(given["device"]),
        threads=options.whole("--threads", given["threads"], 4096),
        seed=options.seed(given["seed"]),
        seeds=base.seeds if drawn is None else options.whole("--seeds", drawn, 1000),
        batch=options.whole("--batch", given.get("batch", str(base.batch))),
        max_seconds=options.number("--max-time", given.get("max_time", str(base.max_seconds))),
        pairs=options.whole("--pairs", given.get("pairs", str(base.pairs))),
        samples=options.whole("--samples", given.get("samples", str(base.samples)), 100_000),
        options=(*base.options, *training, *options.fields(given.get("stage"), drawn)),
        runtimes=latency.asked_for(words, options.runtime_names(given["runtime"] or ",".join(base.runtimes))),
    )


def _differing(chosen: Collection[metrics.Metric], request: Request, usual: Request) -> list[str]:
    """Return the first words of the metrics that two requests have measure in different ways."""
    return [
        metric.columns[0].word
        for metric in chosen
        if metric.columns and metric.configure(request) != metric.configure(usual)
    ]
