"""The modules that are timed: how each is made, for which runtime, and its timing before any time is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from scsc_lab import runtimes
from scsc_lab.errors import InputError, last_line
from scsc_lab.execution import hardware
from scsc_lab.execution.passes import dtype_of, prepare
from scsc_lab.networks.inputs import InputTensor
from scsc_lab.settings import Execution, Settings
from scsc_lab.timing.clock import Clock
from scsc_lab.timing.result import CUT_SHORT, Latency


@dataclass(frozen=True)
class Candidate:
    """A module to be timed.

    Attributes:
        label: its name in tables.
        make: returns it with weights, random ones from torch's global generator; or an ONNX file's bytes.
        resolution: input height and width, in pixels; empty where it takes other inputs than one image.
        channels: input channels.
        inputs: its input tensors, where they are not one image.
        form: ``ordinary`` or ``deploy``.
        ordinary: position of its ordinary form among those it is timed with, which it is compared with too.
        runtime: name of its runtime.
    """

    label: str
    make: Callable[[], nn.Module | bytes]
    resolution: tuple[int, ...]
    channels: int = 3
    inputs: tuple[InputTensor, ...] = ()
    form: str = "ordinary"
    ordinary: int | None = None
    runtime: str = runtimes.USUAL

    @property
    def module(self) -> object:
        """Key that candidates of one module share."""
        return self.make, self.resolution, self.channels, self.inputs

    def tensors(self, batch: int) -> tuple[InputTensor, ...]:
        """Return its input tensors for a batch of so many images."""
        return self.inputs or (InputTensor((batch, self.channels, *self.resolution)),)

    @property
    def pass_(self) -> object:
        """Key that candidates of one pass share: the module and its runtime."""
        return self.module, self.runtime

    def twin(self, candidates: Sequence[Candidate], runtime: str) -> int | None:
        """Return which of several candidates is this one in another runtime, if any is."""
        twin = replace(self, runtime=runtime, ordinary=None)
        return next((at for at, candidate in enumerate(candidates) if replace(candidate, ordinary=None) == twin), None)


def settled(execution: Execution) -> tuple[torch.device, Execution]:
    """Return the device that is meant, and the execution with its name, if it can compute in the type."""
    device = hardware.find(execution.device)
    hardware.check_dtype(device, dtype_of(execution))
    return device, replace(execution, device=str(device))


def made(candidate: Candidate, execution: Execution, seed: int) -> nn.Module | bytes:
    """Return a module as it runs, with weights, random ones seeded; or the bytes of an ONNX file.

    Raises:
        InputError: if it cannot be made, or its weights have no sizes yet.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            model = candidate.make()
        if isinstance(model, bytes):
            return model
        tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
        if any(is_lazy(tensor) for tensor in tensors):
            raise InputError(f"{candidate.label} has lazy modules, of no size before their first input: run it once")
        if any(tensor.is_inference() for tensor in tensors):
            raise InputError(f"{candidate.label} was made in inference mode: make it outside of torch.inference_mode()")
        return prepare(model, execution)
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:  # whatever the module's own code raises, an exit too
        raise InputError(f"{candidate.label} cannot be made: {last_line(error)}") from error


def blank(candidate: Candidate, batch: int, settings: Settings, execution: Execution, clock: Clock) -> Latency:
    """Return a timing with everything but the time."""
    name = hardware.describe(torch.device(execution.device))
    return Latency(
        candidate.label,
        candidate.form,
        candidate.resolution,
        batch,
        execution,
        name,
        clock.name,
        settings,
        CUT_SHORT,
        runtime=candidate.runtime,
    )
