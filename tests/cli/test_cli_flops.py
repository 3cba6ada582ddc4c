"""``scsc-lab flops`` beyond one forward pass of a network that runs."""

from __future__ import annotations

import json

import pytest


def test_a_training_step(run):
    code, out, _ = run("flops", "resnet18", "--resolution", "64", "--train", "--format", "json")
    row = json.loads(out)["rows"][0]
    assert code == 0
    stem = 3 * 49 * 64 * 32 * 32
    assert row["backward_macs"] == 2 * row["forward_macs"] - stem  # the image's gradient is not wanted
    assert row["macs"] == row["forward_macs"] + row["backward_macs"]
    assert row["check"] == "explained"
    code, out, _ = run("flops", "resnet18", "scsc_resnet50", "--resolution", "64", "--train", "--no-check")
    assert code == 0
    assert "forward (G)" in out
    assert "One training step" in out


@pytest.mark.parametrize("by", ["operator", "module", "stage"])
def test_the_parts_of_a_training_step_sum_to_it(run, by):
    _, out, _ = run("flops", "resnet18", "--resolution", "64", "--train", "--no-check", "--by", by, "--format", "json")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    total = rows.pop("total")
    if by == "module":
        rows = {name: row for name, row in rows.items() if "." not in name}
    assert sum(row["macs"] for row in rows.values()) == total["macs"]
    assert ("conv2d backward" in rows) == (by == "operator")


PARTIAL = """
import torch
from torch import nn

class Whole(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 4, 3)

class Partial(Whole):
    def forward(self, x):
        return super().forward(x) + torch.linalg.svdvals(x).amax()
"""


def test_a_partial_count_is_a_lower_bound_everywhere(run, tmp_path, monkeypatch):
    """Nothing is said of its change, and no command takes it for a result."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(PARTIAL)
    networks = ("nets.py:Whole", "nets.py:Partial", "--resolution", "8")
    for command in (
        ("flops", *networks, "--no-check"),
        ("flops", *networks, "--no-check", "--convention", "flops"),
        ("compare", *networks, "--with", "params,macs"),
    ):
        code, out, _ = run(*command)
        assert code == 1
        assert "PARTIAL: nets.py:Partial has operators without a rule, not counted: _linalg_svd" in " ".join(
            out.split()
        )
        assert "≥0.00000" in out
        code, out, _ = run(*command, "--format", "json")
        whole, partial = json.loads(out)["rows"]
        assert partial["macs"] == whole["macs"] == 4 * 27 * 36
        assert partial["macs_change"] is None
        assert partial["params_change"] == 0
    monkeypatch.setattr("scsc_lab.timing.roofs.SIDE", 32)
    monkeypatch.setattr("scsc_lab.timing.roofs.COPIED_BYTES", 2**12)
    code, out, _ = run("roofline", networks[1], *networks[2:], "--pairs", "2", "--min-time", "0")
    assert code == 1
    assert "PARTIAL: nets.py:Partial" in out
    code, out, _ = run("latency", *networks, "--pairs", "2", "--min-time", "0", "--format", "json")
    assert code == 0
    assert [row["macs"] for row in json.loads(out)["rows"]] == [4 * 27 * 36, None]


BROKEN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        if self.how == "exit":
            raise SystemExit(0)
        if self.how == "lazy":
            return self.other(x)
        return torch.cat([x, self.conv(x)], 1)

def exits():
    return Net("exit")

def maps():
    return Net("cat")

def lazy():
    return nn.LazyConv2d(4, 3)
"""


@pytest.mark.parametrize("factory", ["exits", "maps", "lazy"])
@pytest.mark.parametrize("option", ["--check", "--no-check", "--train"])
def test_a_network_that_fails_exits_with_2(run, tmp_path, monkeypatch, factory, option):
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    code, out, err = run("flops", f"broken.py:{factory}", "--resolution", "16", option)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
