"""Networks from elsewhere: found, built, counted, and refused in one line."""

from __future__ import annotations

import json
import socket
import sys

import pytest
import torch

import scsc_lab
from scsc_lab import InputError
from scsc_lab.cli import main
from scsc_lab.metrics.size import counted
from scsc_lab.models import build as building
from scsc_lab.models import external
from scsc_lab.models.names import networks

timm = pytest.importorskip("timm")
pytest.importorskip("torchvision.models")

MINE = """
import neighbour
from torch import nn

def make_model(width=8, classes=10):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.LazyLinear(classes)) if width < 0 else nn.Sequential(
        nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

def needs(width):
    return nn.Linear(width, 1)

def no_module():
    return "a string"

def fails():
    raise RuntimeError("first line\\nthe last line")

class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.scale = float(self.layer.weight.sum())

    def forward(self, x):
        return self.layer(x) if float(x.abs().sum()) >= 0 else x

not_callable = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "neighbour.py").write_text("")
    (tmp_path / "wrong.py").write_text("import torch\n\nx = undefined_name\n")
    (tmp_path / "syntax.py").write_text("def f(:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit('bye')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize(
    ("name", "resolution", "channels"),
    [
        ("timm:convnext_tiny", (224, 224), 3),
        ("timm:mobilenetv3_small_100", (224, 224), 3),
        ("timm:swinv2_tiny_window8_256", (256, 256), 3),
        ("timm:vit_tiny_patch16_224.augreg_in21k", (224, 224), 3),
        ("torchvision:mobilenet_v2", (224, 224), 3),
    ],
)
def test_timm_and_torchvision(name, resolution, channels):
    (network,) = networks([name])
    known = building.facts(network)
    assert (str(network), known.resolution, known.channels) == (name, resolution, channels)
    count = counted(network)
    assert count.status == "complete"
    assert count.params == sum(parameter.numel() for parameter in building.build(network).parameters())


@pytest.mark.parametrize(
    ("name", "outputs"), [("vit_tiny_patch16_224.augreg_in21k", 21843), ("resnet18.a1_in1k", 1000)]
)
def test_a_network_of_timm_with_a_tag_is_that_of_its_weights(name, outputs):
    expected = timm.create_model(name)
    (network,) = networks([f"timm:{name}"])
    assert counted(network).params == sum(parameter.numel() for parameter in expected.parameters())
    assert expected.num_classes == building.build(network).num_classes == outputs
    with pytest.raises(InputError, match=r"timm has no 'resnet18.nowhere', it has resnet18, resnet18.a1_in1k"):
        counted(networks(["timm:resnet18.nowhere"])[0])


def test_timm_counts_as_our_own():
    for own, other in (("resnet50", "timm:resnet50"), ("swin_tiny", "timm:swin_tiny_patch4_window7_224")):
        first, second = (counted(network) for network in networks([own, other]))
        assert (first.params, first.macs, first.activations) == (second.params, second.macs, second.activations)


def test_a_file_and_its_neighbours(mine, capsys):
    code, out, _ = run(
        capsys, "flops", "mine.py:make_model", "--set", "width=16", "--resolution", "32", "--format", "json"
    )
    row = json.loads(out)["rows"][0]
    assert code == 0
    assert row["model"] == "mine.py:make_model[width=16]"
    assert row["params"] == 16 * 28 + 10 * 17
    assert row["macs"] == 16 * 27 * 30 * 30 + 160
    assert row["check"] == "explained"


def test_a_module_of_the_working_folder_and_an_absolute_path(mine, capsys):
    names = ["mine:make_model", f"{mine}/mine.py:make_model[width=4]"]
    code, out, _ = run(capsys, "flops", *names, "--no-check", "--format", "json")
    rows = json.loads(out)["rows"]
    assert code == 0
    assert [(row["model"], row["params"]) for row in rows] == [(names[0], 8 * 28 + 90), (names[1], 4 * 28 + 50)]
    assert str(mine) not in sys.path[:1]


def test_mixed_with_the_catalog_each_change_goes_where_it_fits(mine):
    own, other, timms = networks(
        ["scsc_swin", "mine.py:make_model", "timm:resnet18"], {"kernels": "3,5", "width": "4", "num_classes": "7"}
    )
    assert str(own) == "scsc_swin_tiny[kernels=3,5]"
    assert str(other) == "mine.py:make_model[width=4]"
    assert str(timms).endswith("num_classes=7]")


def test_channels(mine, capsys):
    (network,) = networks(["timm:resnet18"], channels=5)
    known = building.facts(network)
    assert building.build(network).conv1.in_channels == known.channels == len(known.mean) == 5
    assert building.facts(networks(["mine.py:make_model"], channels=1)[0]).channels == 1
    code, _, err = run(capsys, "flops", "resnet50", "--channels", "4")
    assert (code, err) == (2, "scsc-lab: --channels 4: resnet50 takes 3 channels\n")


def test_control_flow_on_values_is_counted_on_real_tensors(mine, capsys):
    code, out, _ = run(capsys, "flops", "mine.py:Branches", "--resolution", "16")
    assert code == 0
    assert "counted on cpu: not countable on the meta device" in " ".join(out.split())
    assert building.build(networks(["mine.py:Branches"])[0]).scale != 0.0


def test_weights_of_other_networks_load_as_they_are(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    torch.save(timm.create_model("swin_tiny_patch4_window7_224").state_dict(), path)
    name = "timm:swin_tiny_patch4_window7_224"
    assert run(capsys, "flops", name, "resnet18", "--no-check", "--weights", f"{name}={path}")[0] == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:convnext_tinny", "timm has no architecture 'convnext_tinny'; did you mean convnext_tiny"),
        ("timm:", "names no network"),
        ("torchvision:resnet5", "torchvision has no network 'resnet5'; did you mean resnet50"),
        ("none.py:make", "no file 'none.py'"),
        (
            "wrong.py:make",
            r"wrong.py does not import: NameError: name 'undefined_name' is not defined (wrong.py, line 3)",
        ),
        ("syntax.py:make", "syntax.py does not import: SyntaxError: "),
        ("leaves.py:make", "leaves.py does not import: SystemExit: bye"),
        ("mine.py:make_modell", "mine.py has no factory 'make_modell'; did you mean make_model"),
        ("mine.py:not_callable", "mine.py has no factory 'not_callable'"),
        ("mine.py:needs", "missing a required argument: 'width'; give keyword arguments with --set key=value"),
        ("mine.py:make_model[depth=3]", "has no argument 'depth'; did you mean width? (its arguments are"),
        ("mine.py:no_module", "mine.py:no_module returned str, not an nn.Module"),
        ("mine.py:fails", "cannot be built: RuntimeError: the last line (mine.py, line 16)"),
        ("nowhere_to_be_found:make", "no module 'nowhere_to_be_found'"),
        ("timm:resnet18[no_such_argument=1]", "cannot be built: TypeError: "),
    ],
)
def test_mistakes_are_one_line(mine, capsys, name, message):
    code, out, err = run(capsys, "flops", name, "--no-check")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_an_input_it_does_not_take(mine, capsys):
    code, _, err = run(capsys, "flops", "timm:vit_tiny_patch16_224", "--resolution", "100", "--no-check")
    assert code == 2
    assert err.startswith("scsc-lab: the network fails on an input of 1×3×100×100: AssertionError: Input height")


def test_without_timm_one_line_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(external.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"timm is not installed: python -m pip install 'scsc-lab\[timm\]'"):
        external.find("timm:resnet18")


def test_a_broken_package_is_said(monkeypatch):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(external.importlib, "import_module", broken)
    with pytest.raises(
        InputError, match=r"does not import: .*::nms does not exist; this torchvision does not fit this"
    ):
        external.find("timm:resnet18")


def test_an_error_in_a_file_of_the_users_names_their_line(tmp_path):
    path = tmp_path / "narrow.py"
    path.write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(5, 4, 3)\n\n    def forward(self, x):\n        return self.conv(x)\n\n"
        "def make():\n    return nn.Conv2d(3, 4, 3, groups=2)\n"
    )
    with pytest.raises(InputError, match=r"make cannot be built: ValueError: .* \(narrow.py, line 12\)$"):
        scsc_lab.count(f"{path}:make", 8)
    for measure in (scsc_lab.count, lambda net, side: scsc_lab.erf(net, side, layer="conv")):
        with pytest.raises(InputError, match=r"fails on an input of .* \(narrow.py, line 9\)$"):
            measure(f"{path}:Net", 8)


class OfflineError(Exception):
    pass


@pytest.fixture
def offline(monkeypatch):
    def connect(*_):
        raise OfflineError

    for module, name in ((torch.hub, "load_state_dict_from_url"), (torch.hub, "download_url_to_file")):
        monkeypatch.setattr(module, name, connect)
    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("deeplabv3_mobilenet_v3_large", 520),
        ("lraspp_mobilenet_v3_large", 520),
        ("ssdlite320_mobilenet_v3_large", None),
        ("quantized_shufflenet_v2_x0_5", 224),
        ("quantized_mobilenet_v2", 224),
        ("inception_v3", 299),
        ("googlenet", 224),
    ],
)
def test_names_of_torchvision_download_nothing(offline, name, side):
    found = external.find(f"torchvision:{name}")
    assert found.resolution == (side and (side, side))
    assert isinstance(found.make_empty({}, "meta"), torch.nn.Module)


def test_segmentation_is_counted(offline):
    assert scsc_lab.count("torchvision:lraspp_mobilenet_v3_large", 64).macs > 0


@pytest.mark.parametrize("name", ["r3d_18", "mvit_v1_b", "s3d", "swin3d_t"])
def test_networks_of_clips_are_one_line(name):
    with pytest.raises(InputError, match=rf"^torchvision:{name} takes clips of frames: give --input 1x3x16x112x112"):
        building.facts(networks([f"torchvision:{name}"])[0])


def test_networks_of_two_images_are_one_line():
    with pytest.raises(InputError, match="raft_small takes two images"):
        building.facts(networks(["torchvision:raft_small"])[0])


@pytest.mark.parametrize(
    ("name", "argument", "usual"),
    [("timm:resnet18", "pretrained", False), ("torchvision:fcn_resnet50", "weights_backbone", None)],
)
def test_weights_are_downloaded_if_they_are_asked_for(monkeypatch, name, argument, usual):
    requests = []

    def record(*names, **options):
        requests.append(options[argument])
        return torch.nn.Identity()

    monkeypatch.setattr(timm, "create_model", record)
    monkeypatch.setattr("torchvision.models.get_model", record)
    external.find(name).make({})
    external.find(name).make({argument: "DEFAULT"})
    assert requests == [usual, "DEFAULT"]
