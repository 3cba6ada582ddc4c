"""One run over several processes, as ``torchrun`` starts them: each takes a part of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scsc_lab.training.batches import WHOLE, Shard


@contextmanager
def joined() -> Iterator[Shard]:
    """Join the processes that ``torchrun`` has started, if it has, over NCCL where there is CUDA and gloo elsewhere.

    Yields:
        The part of every batch that this process takes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield WHOLE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield shard()
    finally:
        torch.distributed.destroy_process_group()


def shard() -> Shard:
    """Return the part of every batch that this process takes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return WHOLE
    return Shard(torch.distributed.get_rank(), torch.distributed.get_world_size())
