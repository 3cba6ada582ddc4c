"""The command line: what it prints and what it exits with."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest
import torch
import typer

from scsc_lab import build
from scsc_lab.cli import app


def test_flops_prints_one_table_with_changes_conventions_and_verdict(run):
    code, out, err = run("flops", "resnet50", "scsc_resnet50", "swin", "scsc_swin")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["resnet50", "scsc_resnet50", "swin_tiny", "scsc_swin_tiny"]
    assert lines[3].split()[1:] == ["224×224", "25.57", "+0.04%", "4.564", "+11.6%", "23.34", "+110.0%"]
    assert max(map(len, lines)) <= 80
    assert "which papers print as FLOPs" in " ".join(out.split())
    assert "fully explained, operator by operator" in " ".join(out.split())


def test_json_rows(run):
    code, out, _ = run("flops", "-m", "resnet18", "--model", "faceresnet", "--format", "json", "--batch", "2")
    document = json.loads(out)
    first, second = document["rows"]
    assert code == 0
    assert (first["params"], first["macs"], first["resolution"], first["batch"]) == (
        11689512,
        2 * 1814073344,
        [224, 224],
        2,
    )
    assert first["fvcore_flops"] == 2 * 1819065856
    assert (first["status"], first["check"]) == ("complete", "explained")
    assert second["resolution"] == [96, 96]
    assert second["params_change"] == pytest.approx(31379776 / 11689512 - 1)
    assert document["run"]["versions"]["fvcore"]


def test_baseline_by_any_of_its_names(run):
    _, out, _ = run("flops", "resnet18", "swin", "--baseline", "SWIN-T", "--no-check", "--format", "json")
    rows = json.loads(out)["rows"]
    assert rows[1]["macs_change"] is None
    assert rows[0]["macs_change"] == pytest.approx(1814073344 / 4490566656 - 1)
    assert rows[0]["check"] == "off"


@pytest.mark.parametrize("by", ["operator", "module", "stage"])
def test_breakdowns_sum_to_the_total(run, by):
    code, out, _ = run("flops", "scsc_swin", "resnet18", "--by", by, "--no-check", "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    for model, macs in (("scsc_swin_tiny", 3304838144), ("resnet18", 1814073344)):
        own = [row for row in rows if row["model"] == model]
        total = next(row for row in own if row["name"] == "total")
        assert int(total["macs"]) == macs
        if by != "module":
            assert sum(int(row["macs"]) for row in own if row is not total) == macs
        else:
            assert sum(int(row["macs"]) for row in own if "." not in row["name"] and row is not total) == macs


def test_depth_limits_modules(run):
    _, shallow, _ = run("flops", "resnet18", "--by", "module", "--depth", "1", "--no-check")
    _, deep, _ = run("flops", "resnet18", "--by", "module", "--depth", "3", "--no-check")
    assert "layer1.0" not in shallow
    assert "layer1.0.conv1" in deep


def test_operator_breakdown_explains_fvcore(run):
    code, out, _ = run("flops", "scsc_swin", "--by", "operator")
    assert code == 0
    assert "gated_sum: 0 for 1,430,016 MACs (fvcore has no rule for it and counts 0)" in out


def test_set_changes_the_network_and_its_label(run):
    _, out, _ = run(
        "flops", "scsc_swin", "--set", "kernels=3,5", "--set", "stage1.groups=8", "--no-check", "--format", "csv"
    )
    row = next(csv.DictReader(io.StringIO(out)))
    assert row["model"] == "scsc_swin_tiny[kernels=3,5 stage1.groups=8]"
    assert int(row["macs"]) != 3304838144


def test_deploy_shows_both_forms(run):
    network = "scsc_swin_pico[depths=1,1,1,1]"
    code, out, _ = run("flops", network, "--deploy", "--format", "json")
    ordinary, deploy = json.loads(out)["rows"]
    assert code == 0
    assert deploy["model"] == f"{network} (deploy)"
    assert deploy["macs"] == ordinary["macs"]  # the definition's
    assert deploy["params"] < ordinary["params"]  # BatchNorm is folded in
    assert deploy["bytes"] < ordinary["bytes"]
    assert deploy["check"] == "explained"


def test_budgets(run):
    code, _, err = run("flops", "swin", "--no-check", "--max-macs", "4.4G", "--max-params", "28M")
    assert code == 1
    assert err.splitlines() == [
        "scsc-lab: swin_tiny has 4.491 G MACs, over the budget of 4.4 G (+2.1%)",
        "scsc-lab: swin_tiny has 28.29 M parameters, over the budget of 28 M (+1.0%)",
    ]
    assert run("flops", "swin", "--no-check", "--max-macs", "4.5G", "--max-params", "30M")[0] == 0
    assert run("flops", "swin", "--no-check", "--max-macs", "4.5e9", "--max-params", "30e+6")[0] == 0
    assert run("flops", "swin", "--no-check", "--max-macs", "4e9")[0] == 1


def test_weights_are_loaded_and_checked(run, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(build("resnet18").state_dict(), path)
    assert run("flops", "resnet18", "--no-check", "--weights", str(path))[0] == 0
    assert run("flops", "resnet18", "resnet34", "--no-check", "--weights", f"resnet18={path}")[0] == 0
    code, _, err = run("flops", "resnet50", "--no-check", "--weights", str(path))
    assert code == 2
    assert "weights of another network" in err


def test_models_lists_the_catalog(run):
    code, out, _ = run("models", "--family", "swin")
    assert code == 0
    assert "scsc_swin_tiny" in out
    assert "resnet" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert "inferred" in run("models")[1]


@pytest.mark.parametrize("command", sorted(typer.main.get_command(app).commands))
def test_every_command_has_help_within_100_columns(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    usage, *described = out.splitlines()
    assert f" {command} [OPTIONS]" in usage
    assert f"$ scsc-lab {command}" in out
    shown = {word.strip(",") for line in described for word in line.replace("/", " ").split()[:4]}
    for parameter in typer.main.get_command(app).commands[command].params:
        assert parameter.help
        assert {name for name in parameter.opts if name.startswith("--")} <= shown
    assert max(map(len, out.splitlines())) <= 100
    first = getattr(typer.main.get_command(app).commands[command].callback, "first", "").split()
    section = out.partition("Options to start with:")[2].partition("\n\n")[0]
    starts = [line.replace("-o, ", "").split()[0] for line in section.splitlines() if line.startswith("  -")]
    assert starts == first
    assert len(first) == 5 or command in ("models", "paper")
    assert all(out.count(f"\n  {name} ") + out.count(f"\n  -o, {name} ") == 1 for name in first)


def test_unexplained_and_partial_counts_exit_with_1(run, monkeypatch):
    from scsc_lab.counting import operators

    rules = dict(operators.RULES)
    del rules["convolution"]
    monkeypatch.setattr(operators, "RULES", rules)
    from scsc_lab.counting.operators import kind

    kind.cache_clear()
    try:
        code, out, _ = run("flops", "resnet18")
    finally:
        kind.cache_clear()
    assert code == 1
    assert "PARTIAL: resnet18 has operators without a rule, not counted: convolution (20 calls)" in " ".join(
        out.split()
    )
    assert "UNEXPLAINED" in out


def shell(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "scsc_lab", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_a_process_exits_as_main_says():
    assert shell("models").returncode == 0
    assert shell("flops", "nothing").returncode == 2
    assert "Usage" in shell().stdout
    assert shell("--version").stdout.startswith("scsc-lab ")


def test_completion_is_shown_and_offers_model_names():
    assert "network" not in shell("--show-completion").stderr
    result = shell(_SCSC_LAB_COMPLETE="complete_bash", COMP_WORDS="scsc-lab flops scsc_s", COMP_CWORD="2")
    from scsc_lab.cli.networks import complete_model

    assert complete_model("SCSC-s") == ["scsc_swin_tiny", "scsc_swin_small", "scsc_swin_base", "scsc_swin_pico"]
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "value"), [("0.01", 0.01), ("1e-2", 0.01), ("1E-2", 0.01), (".5", 0.5), ("2e+1", 20.0), ("5", 5.0)]
)
def test_a_number_may_have_an_exponent(run, text, value, monkeypatch):
    timed = []
    monkeypatch.setattr("scsc_lab.metrics.latency.timings", lambda networks, settings, **_: timed.append(settings))
    run("latency", "resnet18", "--max-time", text)  # ends where there are no times
    assert timed[0].timing.max_seconds == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1e", "e1", "nan", "0x1", "1,5", "0", "1.5", "1e-2"])
def test_what_is_no_whole_number_is_refused(run, text):
    code, _, error = run("latency", "resnet18", "--pairs", text)
    assert (code, "--pairs" in error) == (2, True)


def test_whole_numbers_may_have_an_exponent(run):
    _, out, _ = run("flops", "resnet18", "--resolution", "64", "--no-check", "--batch", "1e1", "--format", "json")
    assert json.loads(out)["rows"][0]["batch"] == 10
