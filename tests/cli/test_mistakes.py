"""Mistakes on the command line: each is one line that names it, exit code 2, and nothing is measured or written."""

from __future__ import annotations

import shlex

import pytest

from scsc_lab.cli import main

MISTAKES = """
ablate net.py:Net --grid width=4 --max-time 3 => it goes with latency
ablate net.py:Net --grid width=4 --with macs --seed 2 => it goes with latency
ablate net.py:Net --no-draw --figures f => leave --figures out
compare net.py:Net 'net.py:Net[width=4]' --by stage --store rows.db => leave --store out
compare net.py:Net 'net.py:Net[width=4]' --with params --threads 2 => it goes with latency
compare net.py:Net --with erf --runtime compile => it goes with latency
compare net.py:Net --with params --recipe cifar => it goes with accuracy
compare net.py:Net --with params --samples 3 => it goes with erf
compare resnet18 --width page => without --plot X,Y: leave --width out
compare resnet18 resnet50 --accuracy none.csv => cannot read none.csv
compare resnet18 resnet50 --by block => 'block' is not one of 'stage', 'module'
compare resnet18 resnet50 --plot macs => --plot 'macs': two columns
compare resnet18 resnet50 --plot macs,speed => 'speed' is none of params
compare resnet18 resnet50 --threads 0 => --threads 0: a
compare resnet18 resnet50 --with '' => names nothing
compare resnet18 resnet50 --with params,macs --plot macs,latency => 'latency' is none of params, macs
compare resnet18 resnet50 --with flops => did you mean macs?
compare resnet18 resnet50 --with speed => Invalid value for '--with': 'speed': one of params
compare resnet18 resnet50 resnet34 --by stage => --by stage compares two networks; 3 are named
erf --from maps.npz --samples 32 => --from draws saved maps: leave --samples out
erf --from nowhere.npz => cannot read nowhere.npz
erf resnet18 --from maps.npz => leave the models out
erf resnet18 --images . --resolution 64 --samples 2 --seeds 1 => no images in .
erf resnet18 --images nowhere => no folder 'nowhere'
erf resnet18 --layer fc --resolution 64 --samples 2 --seeds 1 => not a spatial map
erf resnet18 --layer layer9 --resolution 64 --samples 2 --seeds 1 => no layer 'layer9'
erf resnet18 --method replknet --contribution signed => leave --contribution out
erf resnet18 --samples 0 => --samples 0: a whole number from 1
erf resnet18 --save a.pth => the suffix is .npz
erf resnet18 --stage 1 --layer layer1 => --stage and --layer: take one of them
erf resnet18 --stage 9 --resolution 64 => no stage '9': one of stage1, stage2, stage3, stage4, or all
erf resnet18 -o a.txt => a figure's suffix is one of .png, .pdf, .svg
evaluate net.py:Net --far 0.1 => leave --far out
evaluate net.py:Net --skip-unreadable => is for images that are read
export resnet18 -o model.onnx --opset 7 => --opset 7: from 18 to
export resnet18 -o model.onx => ends in .onnx or .pt2; did you mean .onnx?
export resnet18 -o model.pt2 --opset 18 => --opset goes with an .onnx file
export resnet18 => -o names the file
export resnet18 resnet34 -o model.onnx => name one model
flip => No such command 'flip'
flops --nonsense => No such option
flops => name at least one model
flops resnet18 --batch 1.5 => '1.5' is not a whole number
flops resnet18 --label a=resnet18 --label b=resnet18 => has two labels
flops resnet18 --rule groups=2 => --rule goes with --transplant or --mixer NAME
flops resnet5 => unknown model 'resnet5'; did you mean resnet50
flops resnet50 --baseline swin => --baseline 'swin' is not among the models: resnet50
flops resnet50 --batch many => Invalid value for '--batch'
flops resnet50 --by color => 'color' is not one of 'operator', 'module', 'stage'
flops resnet50 --by module --depth 0 => --depth 0: a whole number from 1
flops resnet50 --depth 2 => --depth goes with --by module
flops resnet50 --max-macs 4.5 => 4.5: is 4.5G meant, or 4.5M?
flops resnet50 --max-macs lots => Invalid value for '--max-macs': 'lots': a number
flops resnet50 --no-check -o /proc/nowhere/x.md => cannot write /proc/nowhere/x.md
flops resnet50 --resolution 0 => sides go from 1 to 16384
flops resnet50 --resolution 10 => takes sides from 32 pixels up
flops resnet50 --resolution 224x => write a side or HEIGHTxWIDTH
flops resnet50 --weights none.pth => no weights file 'none.pth'
flops resnet50 -o x.docx => cannot tell a format from the suffix
flops resnet50 resnet18 --weights none.pth => write NAME=FILE
flops scsc_swin --set groups=64 => groups=64 cannot divide
latency net.py:Net --delta 3 => no times are compared: leave --delta out
latency resnet18 --batch-sizes 0 => --batch-sizes 0: a whole number from 1
latency resnet18 --batch-sizes 1,x => Invalid value for '--batch-sizes': 'x': whole numbers with commas between
latency resnet18 --by stage --runtime compile => --by stage breaks down what torch runs; --by operator
latency resnet18 --by stage --self-test => --by breaks networks down one by one
latency resnet18 --by stage --train => --by breaks down the forward pass as written
latency resnet18 --compile --runtime torch,compile => --compile stands for --runtime compile
latency resnet18 --deploy --train => --deploy is for inference
latency resnet18 --device cuda:99 => device 'cuda:99':
latency resnet18 --device tpu => Invalid value for '--device': 'tpu': one of auto, cpu, cuda, cuda:N, mps
latency resnet18 --dtype float31 => Invalid value for '--dtype': 'float31' is not one of 'float32'
latency resnet18 --max-time nan => --max-time nan: a
latency resnet18 --min-time -1 => --min-time -1: a
latency resnet18 --min-time 9 --max-time 3 => --min-time 9 is more than --max-time 3
latency resnet18 --no-titles => go with --plot
latency resnet18 --pairs 0 => --pairs 0: a
latency resnet18 --plot samples.gif => cannot draw 'samples.gif': a figure's suffix is one of .png, .pdf, .svg
latency resnet18 --runtime , => Invalid value for '--runtime': names nothing
latency resnet18 --runtime torch,onnx => --runtime 'onnx': one of torch, compile, onnxruntime, openvino; did you mean
latency resnet18 --self-test --baseline resnet18 => --self-test compares each network with itself
paper --tolerance -1 => --tolerance
paper --tolerance inf => --tolerance
paper --tolerance nan => --tolerance
report --from bad.jsonl => bad.jsonl, line 1 is not a record
report --from old.jsonl --jobs 2 => leave --jobs out
report --from old.jsonl --seeds 3 => --from measures nothing: leave --seeds out
report --from old.jsonl --with params => leave --with out
report --name '' => --name ''
report --name ../x => --name '../x'
report --pico --data faces => --pico trains networks of its own: leave --data out
report --pico --quick => leave --quick out
report --pico --with erf => leave --with out
report --resolution 64 => --resolution go with models
report --set groups=2 => --set go with models
report net.py:Net --data faces => it goes with accuracy
report net.py:Net --from old.jsonl => leave the models out
report net.py:Net --probe old.jsonl => --probe goes with the paper's claims
report net.py:Net --with params --seeds 3 => it goes with erf or accuracy
report net.py:Net --write-weights w => --write-weights goes with --pico
report resnet18 resnet18 => resnet18 is named twice
roofline swin_pico --width page => nothing is drawn without --plot
sweep net.py:Net --over threads=1,2 --with params => threads changes nothing of params
sweep swin_pico --over batch=1,2 --batch 4 => leave --batch out
sweep swin_pico --over batch=1,2 --with macs --width page => nothing is drawn without --figures
sweep swin_pico --over resolution=32,64 --resolution 64 => leave --resolution out
sweep swin_pico --over size=1,2 => unknown key 'size'
sweep swin_pico --over width=0,1 --with macs => a factor of the network's own width
train net.py:Net 'net.py:Net[width=4]' --self-test => a self-test trains one network against itself; 2 are named
train net.py:Net --budgets 1,2 --recipe-set epochs=3 => leave --recipe-set epochs out
train net.py:Net --max-seeds 30 => --max-seeds goes with --until
train net.py:Net --plot-budgets b.png => --plot-budgets needs --budgets
train net.py:Net --split 0.2 => split is for images that are read
train net.py:Net --tune-epochs 3 => --tune-epochs goes with --tune
train net.py:Net --tune-seeds 3 => --tune-seeds goes with --tune
train net.py:Net --weights-format .pth => leave --weights-format out
train net.py:linear --budgets 4,4 => a budget occurs twice
train net.py:linear --budgets 4,8 --epochs 3 => leave --epochs out
train net.py:linear --budgets 4,8 --recipe swin300 => --budgets needs --recipe-set schedule=constant
train net.py:linear --budgets 4,x => Invalid value for '--budgets': 'x'
train net.py:linear --data navom => unknown data 'navom'; did you mean navon
train net.py:linear --epochs 2 --recipe-set epochs=3 => epochs is given twice
train net.py:linear --recipe-set lr=fast => a number is needed
train net.py:linear --recipe-set lrr=1 => unknown key 'lrr' of a recipe; did you mean lr
train net.py:linear --task verification => navon is data for classification
train net.py:linear --train-images 10 => 10 training images make no batch of 32
train net.py:linear --tune epochs=1,2 => the budget is the same for all networks
train net.py:linear --tune lr => write key=value
train net.py:linear --tune lr=1,-1 => lr=-1.0: a number above 0
train net.py:linear --tune lr=1e-3 => at least two values
train net.py:linear --tune lr=1e-3,0.001 => a value occurs twice
train net.py:linear --tune lr=1e-3,1e-2 --seed 995 => takes the seeds from 1000 up
"""
"""Words of a command, and a part of the complaint."""

LONG = "9" * 5000
TOO_LONG = [
    (["flops", "resnet50", "--max-macs", LONG], "a number, optionally with K, M, G or T"),
    (["flops", "resnet50", "--resolution", LONG], "write a side or HEIGHTxWIDTH"),
    (["flops", "resnet50", "--batch", LONG], "Invalid value for '--batch'"),
    (["flops", "swin", "--set", f"window={LONG}"], "a whole number is needed"),
    (["flops", "resnet18", "--weights", LONG], "File name too long"),
]
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, width: int = 8):
        super().__init__(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 20))

linear = Net
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Go to a folder with the files that the commands name, where training and timing fail."""
    monkeypatch.chdir(tmp_path)
    texts = {"net.py": NETWORK, "bad.jsonl": '{"macs": 1}\n', "torn.jsonl": '{"table": "ru', "old.jsonl": ""}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    for name in ("training.loop.make_optimizer", "timing.rounds.Clock.time"):
        monkeypatch.setattr(f"scsc_lab.{name}", lambda *_, **__: pytest.fail("measured"))
    return tmp_path


PAIRS = [line.split(" => ") for line in MISTAKES.strip().splitlines()]


@pytest.mark.parametrize(
    ("words", "message"),
    [*((shlex.split(command), message) for command, message in PAIRS), *TOO_LONG],
    ids=[*(command for command, _ in PAIRS), *(f"{words[2]} {LONG[:3]}…" for words, _ in TOO_LONG)],
)
def test_a_mistake_is_one_line(words, message, folder, capsys):
    files = sorted(folder.rglob("*"))
    assert main(words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert captured.err.startswith("scsc-lab: ")
    assert message in captured.err
    assert sorted(folder.rglob("*")) == files
