"""Result of counting a network: the cells of one pass, all breakdowns of them, and the cross-check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from scsc_lab.records import Row

BACKWARD = " backward"
"""Suffixes of operators that compute gradients."""


@dataclass(frozen=True)
class Cell:
    """One operator inside one module, over all its calls in one forward pass.

    Attributes:
        module: qualified name of the innermost module that called it (``""``: the network itself).
        operator: its name.
        calls: times it ran.
        macs: multiply-accumulates.
        activations: elements written by convolutions and matrix products (fvcore's definition).
        bytes: bytes read and written, each operator on its own, nothing fused or cached.
        fvcore: operations that fvcore's rules give it, so that its count can be explained operator by operator.
        fvcore_operator: the name under which fvcore lists it; empty if fvcore has no rule for it.
        elementwise: operations on each element by itself, less the products that sums add up, which are in the MACs.
        norms: operations of normalisations.
    """

    module: str
    operator: str
    calls: int
    macs: int
    activations: int
    bytes: int
    fvcore: int = 0
    fvcore_operator: str = ""
    elementwise: int = 0
    norms: int = 0


@dataclass(frozen=True)
class Part:
    """A share of a network: an operator, a module or a stage, with everything inside it counted.

    Attributes:
        flops: two operations per multiply-accumulate, and those on elements and of normalisations.
        output: shapes of the tensors that a module returns.
    """

    name: str
    calls: int = 0
    params: int = 0
    macs: int = 0
    activations: int = 0
    bytes: int = 0
    flops: int = 0
    output: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, repr=False)
class Count:
    """Parameters and operations of one network at one input, from one forward pass or one training step.

    Attributes:
        cells: every operator of every module; all totals are sums of these.
        module_params: parameters owned by each module itself, shared ones at their first owner.
        unknown: operators that do arithmetic and have no rule, with their calls; any makes the count partial.
        device: where it was counted: ``meta`` (no arithmetic done) or a real device.
        remark: why it was not counted on the meta device, if it was not.
        trainable_params: parameters that want a gradient, shared ones once.
        peak_bytes: the most bytes of tensors alive at one time, weights and buffers left out
            (:mod:`scsc_lab.counting.tally`).
        outputs: shapes of the tensors that each module returned in its first call.
    """

    cells: tuple[Cell, ...]
    module_params: Mapping[str, int]
    unknown: tuple[tuple[str, int], ...] = ()
    device: str = "meta"
    remark: str = ""
    trainable_params: int = 0
    peak_bytes: int = 0
    outputs: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    @property
    def params(self) -> int:
        """Number of parameters, shared ones once."""
        return sum(self.module_params.values())

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the pass, or of both passes."""
        return sum(cell.macs for cell in self.cells)

    @property
    def activations(self) -> int:
        """Elements written by convolutions and matrix products."""
        return sum(cell.activations for cell in self.cells)

    @property
    def bytes(self) -> int:
        """Bytes read and written by all operators."""
        return sum(cell.bytes for cell in self.cells)

    @property
    def elementwise(self) -> int:
        """Operations on each element by itself, one per element."""
        return sum(cell.elementwise for cell in self.cells)

    @property
    def norms(self) -> int:
        """Operations of normalisations (:mod:`scsc_lab.counting.tally`)."""
        return sum(cell.norms for cell in self.cells)

    @property
    def flops(self) -> int:
        """Two operations per multiply-accumulate, and those on elements and of normalisations."""
        return 2 * self.macs + self.elementwise + self.norms

    @property
    def status(self) -> Literal["complete", "partial"]:
        """``partial`` if an operator that does arithmetic has no rule, so that the MACs are a lower bound."""
        return "partial" if self.unknown else "complete"

    @property
    def backward_macs(self) -> int:
        """Those of the MACs that make gradients: 0 in a forward pass."""
        return sum(cell.macs for cell in self.cells if cell.operator.endswith(BACKWARD))

    def __repr__(self) -> str:
        """Return the totals, not the cells."""
        numbers = ", ".join(f"{key}={getattr(self, key):,}" for key in ("params", "macs", "activations", "bytes"))
        return f"Count({numbers}, {self.status})"

    @property
    def total(self) -> Part:
        """The whole network as one part."""
        return _part("total", self.cells, self.params)

    def row(self) -> Row:
        """Return the totals as one row."""
        totals = ("params", "macs", "activations", "bytes", "trainable_params", "peak_bytes")
        keys = (*totals, "elementwise", "norms", "flops", "status")
        return {
            **{key: getattr(self, key) for key in keys},
            "unknown_operators": dict(self.unknown),
            "counted_on": self.device,
            **({"count_remark": self.remark} if self.remark else {}),
        }

    def by_operator(self) -> list[Part]:
        """Return one part an operator, the largest in MACs first. Parameters belong to modules and are 0 here."""
        return sorted(self._grouped(lambda cell: cell.operator), key=lambda part: (-part.macs, -part.bytes))

    def by_module(self, depth: int | None = None) -> list[Part]:
        """Return every module down to ``depth`` levels below the network, in order; a module holds its children."""
        names = dict.fromkeys(self.module_params)
        parents = {name: _ancestors(name) for name in names}
        chosen = [name for name in names if depth is None or name == "" or name.count(".") < depth]
        totals: dict[str, list[Cell]] = defaultdict(list)
        params: dict[str, int] = defaultdict(int)
        for name, number in self.module_params.items():
            for parent in parents[name]:
                params[parent] += number
        for cell in self.cells:
            for parent in parents.get(cell.module) or _ancestors(cell.module):
                totals[parent].append(cell)
        parts = (_part(name, totals[name], params[name]) for name in chosen)
        return [replace(part, output=self.outputs.get(part.name, ())) for part in parts]

    def by_stage(self, stages: Mapping[str, Sequence[str]]) -> list[Part]:
        """Return one part per stage; what belongs to none is ``other``, so that the parts sum to the whole.

        Args:
            stages: names of the modules that make up each stage.
        """
        owner = {module: stage for stage, modules in stages.items() for module in modules}

        def stage_of(module: str) -> str:
            return next((owner[name] for name in reversed(_ancestors(module)) if name in owner), "other")

        params: dict[str, int] = defaultdict(int)
        for module, number in self.module_params.items():
            params[stage_of(module)] += number
        parts = {part.name: part for part in self._grouped(lambda cell: stage_of(cell.module))}
        names = [name for name in (*stages, "other") if name in parts or params[name]]
        return [replace(parts.get(name, Part(name)), params=params[name]) for name in names]

    def _grouped(self, key: Callable[[Cell], str]) -> list[Part]:
        groups: dict[str, list[Cell]] = defaultdict(list)
        for cell in self.cells:
            groups[key(cell)].append(cell)
        return [_part(name, cells, 0) for name, cells in groups.items()]


@dataclass(frozen=True)
class OperatorCheck:
    """Prediction of fvcore's rules for one operator, and fvcore's count."""

    operator: str
    macs: int
    predicted: int
    counted: int
    reason: str

    @property
    def explained(self) -> bool:
        """Whether fvcore counted exactly by its rules."""
        return self.predicted == self.counted


@dataclass(frozen=True)
class CrossCheck:
    """fvcore's count of the same network, and its difference to the MACs, operator by operator.

    Attributes:
        flops: fvcore's total; ``None`` if fvcore could not count the network.
        operators: every operator that either side counts.
        failure: why fvcore could not count, in one line.
    """

    flops: int | None
    operators: tuple[OperatorCheck, ...] = ()
    failure: str = ""

    def row(self) -> Row:
        """Return it as part of a network's row."""
        operators = [{**asdict(operator), "explained": operator.explained} for operator in self.operators]
        return {
            "fvcore_flops": self.flops,
            "check": self.verdict,
            "check_failure": self.failure,
            "check_operators": operators,
        }

    @property
    def verdict(self) -> Literal["explained", "unexplained", "impossible"]:
        """``explained`` if the difference is accounted for to the last operation."""
        if self.flops is None:
            return "impossible"
        return "explained" if all(row.explained for row in self.operators) else "unexplained"


def _ancestors(module: str) -> list[str]:
    parts = module.split(".") if module else []
    return ["", *(".".join(parts[: depth + 1]) for depth in range(len(parts)))]


def _part(name: str, cells: Iterable[Cell], params: int) -> Part:
    cells = list(cells)
    sums = {key: sum(getattr(cell, key) for cell in cells) for key in ("calls", "macs", "activations", "bytes")}
    flops = 2 * sums["macs"] + sum(cell.elementwise + cell.norms for cell in cells)
    return Part(name, params=params, flops=flops, **sums)
