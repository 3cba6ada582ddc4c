"""``torch.compile``: the network as torch's own compiler makes it; compiling counts as set-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scsc_lab.runtimes import Runtime, Session
from scsc_lab.runtimes.torch import TorchSession
from scsc_lab.settings import DTYPES

if TYPE_CHECKING:
    from scsc_lab.runtimes.source import Source
    from scsc_lab.settings import Execution


def prepare(source: Source, execution: Execution) -> Session:
    """Return a compiled copy of a network; it is compiled at its first pass, and again in another layout."""
    import copy

    import torch

    compiled = torch.compile(copy.deepcopy(source.module))
    assert isinstance(compiled, torch.nn.Module)
    return TorchSession(source, execution, compiled)


RUNTIME = Runtime(
    "compile", "torch.compile", prepare, dtypes=DTYPES, trains=True, layouts=True, bounded=False, is_default=False
)
ORDER = 1
