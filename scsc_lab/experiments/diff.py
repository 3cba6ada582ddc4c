"""Two networks side by side: their stages or blocks aligned, with differences that sum to those of the whole."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from torch import nn

from scsc_lab.analysis.count import Count, Part
from scsc_lab.models.stages import stages
from scsc_lab.records import Row

_KEYS = ("params", "macs", "activations", "bytes")


def rows(models: Sequence[nn.Module], counts: Sequence[Count], by: str) -> list[Row]:
    """Return one row per stage or block of either network, and the total; the differences sum to the total's.

    Stages go together by name. Blocks do too, in order; between two pairs of equal names, blocks of other names go
    together one by one where there are as many on both sides, else each stands alone.

    Args:
        models: two networks.
        counts: their counts.
        by: ``stage`` or ``module``.
    """
    first, second = (
        count.by_stage(stages(model)) if by == "stage" else blocks(model, count)
        for model, count in zip(models, counts, strict=True)
    )
    totals = [Part("total", 0, count.params, count.macs, count.activations, count.bytes) for count in counts]
    return [_row(*pair) for pair in (*_aligned(first, second), (totals[0], totals[1]))]


def blocks(model: nn.Module, count: Count) -> list[Part]:
    """Return the blocks of a network, in order: parts that together are the whole.

    A module is taken apart as long as it, or a part of it, lists modules that have parts themselves; what such a
    module does between its parts is a row of its own.
    """
    counted = {part.name: part for part in count.by_module()}
    parts: list[Part] = []

    def take_apart(name: str, module: nn.Module, root: bool = False) -> None:
        if not root and not _is_nest(module) and not any(map(_is_nest, module.children())):
            parts.append(counted[name])
            return
        at = len(parts)
        inside = []
        for child_name, child in module.named_children():
            qualified = f"{name}.{child_name}" if name else child_name
            if qualified in counted:  # not if it is shared and was met before
                inside.append(counted[qualified])
                take_apart(qualified, child)
        between = _minus(counted[name], inside, f"{name or 'network'} (between its parts)")
        if any(getattr(between, key) for key in ("params", "macs", "activations")):
            parts.insert(at, between)

    take_apart("", model, root=True)
    return [part for part in parts if part.params or part.macs]


def _is_nest(module: nn.Module) -> bool:
    """Return whether a module lists modules that have parts themselves."""
    lists = isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict))
    return lists and any(next(child.children(), None) is not None for child in module.children())


def _minus(part: Part, inside: Sequence[Part], name: str) -> Part:
    rest = {key: getattr(part, key) - sum(getattr(part_inside, key) for part_inside in inside) for key in _KEYS}
    return Part(name, 0, **rest)


def _aligned(first: Sequence[Part], second: Sequence[Part]) -> Iterator[tuple[Part | None, Part | None]]:
    names = [[part.name for part in parts] for parts in (first, second)]
    for kind, i1, i2, j1, j2 in difflib.SequenceMatcher(None, names[0], names[1], autojunk=False).get_opcodes():
        if kind == "equal" or i2 - i1 == j2 - j1:
            yield from zip(first[i1:i2], second[j1:j2], strict=True)
            continue
        yield from zip_longest(first[i1:i2], ())
        for part in second[j1:j2]:
            yield None, part


def _row(first: Part | None, second: Part | None) -> Row:
    names = list(dict.fromkeys(part.name for part in (first, second) if part))
    row: Row = {"name": " → ".join(names)}
    for key in _KEYS:
        before = getattr(first, key) if first else None
        after = getattr(second, key) if second else None
        row |= {f"{key}_first": before, f"{key}_second": after, f"{key}_difference": (after or 0) - (before or 0)}
    return row
