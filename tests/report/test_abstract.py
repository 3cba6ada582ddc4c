"""The abstract of a report: each rule on made-up rows whose sentence is known."""

from __future__ import annotations

import pytest

from scsc_lab import metrics
from scsc_lab.report import abstract, compose
from scsc_lab.report.document import Bullets, Details, Grid, Paragraph
from scsc_lab.report.render import markdown

RUN = {"table": "run", "columns": ["params", "macs", "activations", "latency", "erf"], "command": "x", "versions": {}}
RUN |= {"machine": {"processor": "CPU", "cores": 2}}


def pair(name, ratio=None, macs=-0.2, verdict=None, **more):
    """Return a baseline and its copy with SCSC, at a ratio of times that is known to a hundredth."""
    base = {"table": "comparison", "model": name, "baseline": name, "resolution": [64, 64], "device": "cpu"}
    base |= {"params": 1e6, "macs": 1e9, "batch": 1, "threads": 1, "dtype": "float32", "median_seconds": 0.1}
    row = {**base, "model": f"scsc_{name}", "params": 9e5, "params_change": -0.1, "macs_change": macs}
    if ratio is not None:
        row |= {"ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01, "verdict": verdict}
    return [base, {**row, **more}]


def made(rows, tmp_path=None):
    return compose.document([RUN, *rows], "name", metrics.columns(), lambda *_: [], tmp_path)


def test_two_pairs_of_one_backbone_go_by_their_own_names():
    first, second = pair("a", 0.8), pair("a", 0.5, model="a + SCSC")
    says = on_time(first, [first[0], second[1]])
    assert says.startswith("SCSC makes both networks smaller and faster on a CPU: a + SCSC needs 0.500 × ")


def on_time(*pairs):
    return abstract.sentences([RUN], [row for _, row in pairs], [row for rows in pairs for row in rows])


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([pair("a", 0.8)], "SCSC makes a smaller and faster on a CPU: a needs 0.800 × the time of its baseline."),
        (
            [pair("a", 0.8), pair("b", 0.3), pair("c", 1.5)],
            "SCSC makes two of three backbones smaller and faster on a CPU, and one slower: b needs 0.300 × the time "
            "of its baseline, c 1.500 ×, a 0.800 ×.",
        ),
        (
            [pair("a", 1.2), pair("b", 1.3)],
            "SCSC makes both backbones slower on a CPU: b needs 1.300 × the time of its baseline, a 1.200 ×.",
        ),
        (
            [pair("a", 0.8, params_change=0.3), pair("b", 0.7)],
            "SCSC makes both backbones faster on a CPU: b needs 0.700 × the time of its baseline, a 0.800 ×.",
        ),
        (
            [pair("a", 1.005)],
            "Time with SCSC against the baseline: inconclusive for a on a CPU: a needs 1.005 × the time "
            "of its baseline.",
        ),
        (
            [pair("a", 0.5, verdict="withheld"), pair("b", 1.2)],
            "Time with SCSC against the baseline: slower for one of two backbones on a CPU, and withheld for one: "
            "a needs 0.500 × the time of its baseline, b 1.200 ×.",
        ),
    ],
)
def test_the_first_sentence_counts_verdicts_and_names_the_largest_effect_first(pairs, sentence):
    assert on_time(*pairs) == f"{sentence} Accuracy was not tested."


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"a": (0.1, 0.05, 0.15)}, "SCSC changes r(50 %) by +10.0 points in a."),
        ({"a": (0.01, -0.05, 0.07)}, "Its r(50 %) is inconclusive in a (+1.00 points)."),
        (
            {"a": (0.1, 0.05, 0.15), "b": (-0.2, -0.3, -0.1), "c": (0.01, -0.05, 0.07)},
            "SCSC changes r(50 %) by −20.0 points in b and +10.0 points in a; it is inconclusive in c (+1.00 points).",
        ),
    ],
)
def test_a_report_of_fields_alone_begins_with_them(fields, sentence):
    keys = ("r50_difference", "r50_difference_low", "r50_difference_high")
    pairs = [pair(name, **dict(zip(keys, values, strict=True))) for name, values in fields.items()]
    assert on_time(*pairs) == f"{sentence} Accuracy was not tested."


@pytest.mark.parametrize(("ratio", "says"), [(0.9, "The sign holds in all two runtimes."), (1.1, "differ in ORT.")])
def test_the_sign_holds_in_all_runtimes_only_if_it_does(ratio, says):
    other = {"onnxruntime_ratio": ratio, "onnxruntime_ratio_low": ratio - 0.01, "onnxruntime_ratio_high": ratio + 0.01}
    rows = pair("a", 0.8, runtimes=["torch", "onnxruntime"], onnxruntime_runtime_title="ORT", **other)
    assert says in on_time(rows)


def trained(loss=(2.0, 1.95), accuracy=(50.0, 52.0), data="navon"):
    curve = [{"epoch": at, "loss": value, "accuracy": {}} for at, value in enumerate(loss)]
    runs = [{"seed": at, "status": "complete", "data": data, "accuracy": value} for at, value in enumerate(accuracy)]
    return [{**run, "curve": curve, "epochs": len(curve)} for run in runs]


@pytest.mark.parametrize(
    ("verdict", "runs", "says"),
    [
        ("better", trained(), "SCSC changes accuracy by +10.0 points in a."),
        ("inconclusive", trained(), "Accuracy after training is inconclusive in a (+10.0 points)."),
        (None, trained(), "Accuracy after training is inconclusive in a (+10.0 points)."),
        ("same", trained(), "Accuracy after training is the same in a (+10.0 points)."),
        ("better", trained(loss=(2.0, 1.7)), "in a. Under-trained: a."),
        ("better", trained(accuracy=(1.0, 30.0)), "in a. Under-trained: a."),
    ],
)
def test_accuracy_is_said_by_its_verdict_with_a_caveat_on_the_baseline(verdict, runs, says):
    """A clear difference within the margin is the same, as in the table."""
    ends = {"accuracy_difference": 10.0, "difference_low": 5.0, "difference_high": 15.0, "p_holm": 0.01}
    base, row = pair("a", **ends, accuracy_verdict=verdict)
    assert says in on_time(({**base, "runs": runs}, row))


@pytest.mark.parametrize(
    ("ratio", "macs", "is_said"), [(0.81, -0.2, False), (0.95, -0.2, True), (1.05, -0.01, True), (1.005, -0.2, False)]
)
def test_time_against_macs_is_said_beyond_ten_points_or_with_another_sign(ratio, macs, is_said):
    points = abstract.bullets([RUN], pair("a", ratio, macs))
    assert any("MACs do not predict the time" in point for point in points) == is_said


@pytest.mark.parametrize(("ratio", "high", "is_said"), [(0.9, 0.92, True), (0.96, 0.97, False), (0.9, 1.01, False)])
def test_the_gain_of_a_deploy_form_is_said_above_five_percent(ratio, high, is_said):
    form = {"table": "deploy", "model": "a (deploy)", "ordinary": "a", "ordinary_ratio": ratio}
    form |= {"ordinary_ratio_low": 0.88, "ordinary_ratio_high": high}
    points = abstract.bullets([RUN, form], pair("a", 0.8))
    assert any("Folded" in point for point in points) == is_said


def test_a_control_that_does_as_well_is_said():
    base, row = pair("a", 0.8, accuracy_difference=10.0)
    control = {**row, "model": "a + depthwise", "ratio": 0.7, "accuracy_difference": 11.0}
    dear, worse = {**control, "model": "a + inception", "ratio": 0.9}, {**control, "model": "a + pooling"}
    worse["accuracy_difference"] = 9.0
    (point,) = (text for text in abstract.bullets([RUN], [base, row, control, dear, worse]) if "mixers" in text)
    as_well = "Simpler mixers do in a depthwise (+11.0 points) as well as SCSC (+10.0 points)"
    assert point == f"{as_well}, in no more time."
    untimed = [{**row, "ratio": None} for row in (base, row, control)]
    assert f"{as_well}." in abstract.bullets([RUN], untimed)


@pytest.mark.parametrize(
    ("gates", "says"),
    [
        ("inconclusive", "No change of a part of scsc_a moves accuracy clearly (two tried, at most 0.70 points)."),
        ("better", "Largest clear effects of changing scsc_a: no gates +0.70 points of accuracy."),
    ],
)
def test_parts_that_move_accuracy_are_said_or_that_none_does(gates, says):
    part = {"table": "ablation", "study": "components", "baseline": "scsc_a", "difference_low": -0.5}
    part |= {"accuracy_difference": 0.5, "difference_high": 1.5, "accuracy_verdict": "inconclusive"}
    variants = [{**part, "variant": "largest kernel only"}, {**part, "variant": "no gates", "accuracy_difference": 0.7}]
    variants[1]["accuracy_verdict"] = gates
    single = " One kernel is not clearly less accurate than several: largest kernel only +0.50 (−0.50 to +1.50) points."
    assert abstract.bullets([RUN, *variants], []) == [says + single]


def test_claims_come_with_what_differs_and_what_is_open():
    claim = {"table": "claim", "network": "scsc_a", "quantity": "macs", "published": -0.2}
    claims = [
        {**claim, "claim": "A", "measured": -0.2, "verdict": "reproduced"},
        {**claim, "claim": "B", "measured": -0.3, "verdict": "differs"},
        {**claim, "claim": "C", "measured": None, "quantity": "accuracy", "verdict": "not tested: x"},
    ]
    assert abstract.bullets([RUN, *claims], pair("a", 0.8)) == [
        "Of the paper's 3 claims: 1 reproduced; B saves more than claimed (−30.00%, claimed −20.0%); 1 not tested."
    ]


def test_it_fits_a_screen_and_the_answers_fold(tmp_path):
    networks = [
        row for at in range(12) for row in pair(f"net{at}", 0.5 + at / 20, activations=1, activations_change=1.0)
    ]
    document = made(networks, tmp_path)
    assert document.title == "SCSC in net0, net1, net2 and 9 more"
    text = markdown.document(document).partition("\n## ")[0]
    assert len(text.splitlines()) <= 25
    table = next(block.table for block in document.abstract if isinstance(block, Grid))
    assert len(table.columns) <= 6
    assert [row["baseline"] for row in table.rows[:2]] == ["net0", "net1"]
    assert isinstance(document.sections[0].blocks[0], Details)
    assert sum(isinstance(block, Bullets) for block in document.abstract) <= 1


def test_the_scope_names_machine_noise_and_uncommitted_changes(tmp_path):
    noise = {"table": "noise", "model": "a, again", "ratio": 1.0, "ratio_low": 0.99, "ratio_high": 1.01}
    scope = made([*pair("a", 0.8), noise], tmp_path).abstract[-1]
    assert scope == Paragraph("Scope: CPU, 1 thread, batch 1, float32, input 64×64, noise floor 0.990–1.010.")
    run = {**RUN, "commit": "c0ffee-dirty"}
    busy = [{**row, "is_busy": True} for row in pair("a", 0.8)]
    text = abstract.scope([run], busy)
    assert "uncommitted changes" in text
    assert "too busy" in text
    made_anew = {**run, "commits": ["c0ffee"]}  # the report's own commit is not that of the measurements
    assert "uncommitted" not in abstract.scope([made_anew], busy)
    assert "uncommitted" in abstract.scope([{**RUN, "commits": ["c0ffee", "beef-dirty"]}], busy)


def test_settings_of_a_network_with_scsc_are_not_what_scsc_does():
    rows = [{**row, "baseline": "scsc_a"} for row in pair("a", 0.8)]
    rows = [{**rows[0], "model": "scsc_a"}, {**rows[1], "model": "scsc_a[groups=2]"}]
    assert abstract.title(rows, "name") == "Settings of scsc_a"
    assert on_time(rows).startswith("Time against the baseline: smaller and faster for scsc_a[groups=2] on a CPU: ")
