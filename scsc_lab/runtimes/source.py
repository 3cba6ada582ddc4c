"""A network as runtimes take it: the module, its input, and its ONNX model, which is made once for all that run it."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scsc_lab import runtimes
from scsc_lab.errors import InputError
from scsc_lab.networks.values import InputTensor
from scsc_lab.settings import Execution

if TYPE_CHECKING:
    from torch import Tensor, nn

    from scsc_lab.execution.passes import Arguments


@dataclass
class Source:
    """A network on its device, in its type and mode, with inputs of one shape.

    Attributes:
        label: its name in messages.
        model: the module; torch runs this very one, so that its layout is torch's to choose once it is timed. Or the
            bytes of an ONNX file, which torch does not run.
        inputs: the tensors that it takes, of an ONNX file in their order there.
        execution: where and how it runs.
        seed: seed of the input.
        export_seconds: what making the ONNX model took; ``None`` before it was made.
    """

    label: str
    model: nn.Module | bytes
    inputs: Sequence[InputTensor]
    execution: Execution
    seed: int
    export_seconds: float | None = None

    def make_for(self, names: Iterable[str]) -> None:
        """Make what some runtimes take, before torch lays out the module for itself.

        Raises:
            InputError: if it cannot be exported.
        """
        for name in names:
            if name != runtimes.USUAL and not self.execution.train and not isinstance(self.model, bytes):
                _ = self.reference
            if runtimes.find(name).format == "onnx":
                _ = self.onnx

    def input(self, memory_format: str = "contiguous") -> Arguments:
        """Return what the module is called with: random numbers, the same every time."""
        from scsc_lab.execution.passes import arguments

        return arguments(self.module, self.inputs, self._drawn(memory_format))

    def tensors(self, names: Sequence[str]) -> list[Tensor]:
        """Return the same random numbers for the inputs of its ONNX model, in their order.

        Raises:
            InputError: if the model has other inputs.
        """
        from scsc_lab.execution import passes

        fed = self._drawn("contiguous") if isinstance(self.model, bytes) else list(passes.tensors(list(self.input())))
        if len(fed) != len(names):
            raise InputError(f"{self.label}: its ONNX model takes {', '.join(names)}, not {len(fed)} inputs")
        return [x.float() if x.is_floating_point() and x.element_size() == 2 else x for x in fed]

    def _drawn(self, memory_format: str) -> list[Tensor]:
        import torch

        from scsc_lab.execution.passes import random_input

        execution = replace(self.execution, memory_format=memory_format)
        generator = torch.Generator().manual_seed(self.seed)
        return [random_input(tensor, execution, generator) for tensor in self.inputs]

    @functools.cached_property
    def reference(self) -> list[Any]:
        """Outputs of torch without a compiler, as NumPy arrays, with which those of other runtimes are compared.

        Of an ONNX file they are the outputs of the first runtime that runs it.

        Raises:
            InputError: if the network's outputs differ from pass to pass.
        """
        from scsc_lab.execution.agreement import LARGEST_DIFFERENCE, repeatable
        from scsc_lab.execution.passes import arrays, lay_out

        def run() -> list[Any]:
            import torch

            with torch.inference_mode():
                positional, keywords = self.input()
                return arrays(self.module(*positional, **keywords))

        lay_out(self.module, "contiguous")
        return repeatable(run, LARGEST_DIFFERENCE[self.execution.dtype], self.label)

    @property
    def module(self) -> nn.Module:
        """The module that torch runs."""
        assert not isinstance(self.model, bytes)
        return self.model

    @functools.cached_property
    def onnx(self) -> bytes:
        """The network's ONNX model, of these very input shapes; in float32, the precision is the runtime's to take.

        Raises:
            InputError: if it cannot be exported, with the module and the operator at fault.
        """
        from scsc_lab.execution.passes import lay_out
        from scsc_lab.exporting.onnx_graph import onnx_model

        if isinstance(self.model, bytes):
            return self.model
        start = time.perf_counter()
        lay_out(self.module, "contiguous")
        module = self.module if self.execution.dtype == "float32" else copy.deepcopy(self.module).float()
        try:
            positional, keywords = self.input()
            if keywords:
                raise InputError(f"its argument {next(iter(keywords))!r} is given by name alone, behind ones left out")
            content = onnx_model(module, [x.float() if x.is_floating_point() else x for x in positional])
        except InputError as error:
            raise InputError(f"{self.label} cannot be exported: {error}") from None
        self.export_seconds = time.perf_counter() - start
        return content
