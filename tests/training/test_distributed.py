"""Two processes give the losses of one with the same global batch."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small import RECIPE, batches, data
from torch import nn

from scsc_lab.training.batches import WHOLE
from scsc_lab.training.loop import train
from scsc_lab.training.tasks import classification

SCRIPT = """
import json, os, sys
import torch
from test_distributed import losses
from scsc_lab.training.batches import Shard
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
found = losses(Shard(rank, 2))
if rank == 0:
    open(sys.argv[1], "w").write(json.dumps(found))
torch.distributed.destroy_process_group()
"""


def losses(shard) -> list[float]:
    """Train a network that treats each image alone: without batch statistics nothing depends on the shard."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 16), nn.GELU(), nn.Linear(16, 2))
    goal = classification(data(), RECIPE, 0)
    recipe = dataclasses.replace(RECIPE, epochs=2)
    return [epoch.loss for epoch in train(model, goal.objective(2), batches(recipe, shard=shard), goal.judge).curve]


def test_two_processes_are_one(tmp_path):
    script, out = tmp_path / "script.py", tmp_path / "losses.json"
    script.write_text(SCRIPT)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run([*launcher, str(script), str(out)], env=environment, check=True, capture_output=True, timeout=300)
    assert json.loads(out.read_text()) == pytest.approx(losses(WHOLE), rel=1e-5)
