"""Effective receptive fields of networks: closed forms, symmetry, batches, layouts, and what must not matter."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import scsc_lab
from scsc_lab import InputError, metrics
from scsc_lab.analysis import mapfile
from scsc_lab.analysis.field import difference
from scsc_lab.execution import layout
from scsc_lab.experiments import compare, runner
from scsc_lab.metrics.erf import fields
from scsc_lab.models import external
from scsc_lab.networks.network import Network
from scsc_lab.receptive_field import gradients as metric
from scsc_lab.receptive_field import images
from scsc_lab.receptive_field.feature_maps import run_to, survey
from scsc_lab.settings import Fields, Settings

GREY = {"mean": (0.5,), "std": (0.25,)}
PICO = "resnet_pico[depths=1,1,1,1]"


def uniform_stack(number, kernel):
    layers = [nn.Conv2d(1, 1, kernel, padding=kernel // 2, bias=False) for _ in range(number)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1.0 / kernel**2)
    return nn.Sequential(*layers)


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 8, 5, 2, 2), nn.ReLU(), nn.Conv2d(8, 4, 3)
    ).eval()


@pytest.mark.parametrize(("number", "kernel"), [(4, 3), (10, 3), (5, 5), (3, 9)])
def test_a_uniform_stack_is_as_wide_as_theory_says(number, kernel):
    (field,) = scsc_lab.erf(uniform_stack(number, kernel), 65, layer=str(number - 1), samples=2, **GREY)
    row = field.row()
    for axis in "xy":
        assert row[f"sigma_{axis}_pixels"] == pytest.approx(math.sqrt(number * (kernel**2 - 1) / 12), rel=0.01)
    assert row["theoretical_pixels"] == [1 + number * (kernel - 1)] * 2
    assert row["centre"] == [32, 32]
    assert row["truncation"] == 0
    assert np.allclose(field.map, field.map[::-1], atol=1e-9)
    assert np.allclose(field.map, field.map[:, ::-1], atol=1e-9)
    assert np.allclose(field.map, field.map.T, atol=1e-9)


def test_the_gain_of_the_network_does_not_matter():
    model = small()
    (before,) = scsc_lab.erf(model, 48, layer="5", samples=3)
    with torch.no_grad():
        model[5].weight.mul_(1e4)
    (after,) = scsc_lab.erf(model, 48, layer="5", samples=3)
    for name, value in before.figures().items():
        assert after.figures()[name] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 4])
def test_batches_and_layers_measured_together_do_not_matter(batch):
    for field in scsc_lab.erf(small(), 48, layer=["0", "2", "5"], samples=4):
        (alone,) = scsc_lab.erf(small(), 48, layer=field.setting.layer, samples=4, batch=batch)
        assert np.abs(alone.maps - field.maps).max() <= 1e-5 * alone.maps.max()


def test_the_order_of_images_does_not_matter(monkeypatch):
    (before,) = scsc_lab.erf(small(), 48, layer="2", samples=6)
    original = images.synthetic

    def turned(*arguments):
        drawn = original(*arguments)
        return images.Images(drawn.pixels[::-1], drawn.kind, codes=drawn.codes[::-1])

    monkeypatch.setattr(images, "synthetic", turned)
    (after,) = scsc_lab.erf(small(), 48, layer="2", samples=6)
    assert np.array_equal(before.map, after.map)
    assert before.row() == after.row()


def test_linear_maps_are_absolute_gradients_each_of_sum_one():
    model = small()
    (field,) = scsc_lab.erf(model, 52, layer="5", samples=3)
    assert field.setting.map_size == (11, 11)
    assert field.maps.sum(axis=(1, 2)) == pytest.approx(np.ones(3), rel=1e-5)
    assert field.map.sum() == pytest.approx(1.0)
    assert field.map.dtype == np.float64


def test_contributions():
    maps = {c: scsc_lab.erf(small(), 52, layer="5", samples=1, contribution=c)[0] for c in ("abs", "relu", "signed")}
    assert maps["signed"].maps.min() < 0
    assert maps["relu"].maps.min() == 0
    assert maps["abs"].map.min() >= 0
    assert (maps["signed"].map >= 0).all()
    assert maps["relu"].row()["contribution"] == "relu"


def test_the_model_is_left_as_it_was():
    model = small().train()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    scsc_lab.erf(model, 48, layer="5", samples=2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_stages_of_our_networks_and_their_centres():
    found = scsc_lab.erf("resnet18", 64, seeds=1, stage="all", samples=2)
    assert [field.setting.stage for field in found] == ["stage1", "stage2", "stage3", "stage4"]
    assert [field.setting.layer for field in found] == ["layer1", "layer2", "layer3", "layer4"]
    assert [field.setting.centre for field in found] == [(30, 30), (28, 28), (24, 24), (16, 16)]
    assert found[0].setting.theoretical == (43, 43)  # 7, pool 3, four 3×3 at stride 4
    (patches,) = scsc_lab.erf("scsc_swin", 64, seeds=1, stage=4, samples=2, embed_dim=24)
    assert patches.setting.centre == (31.5, 31.5)
    assert patches.setting.layout == "nhwc"


def test_windows_are_averaged_over_one_period():
    (field,) = scsc_lab.erf("swin", 112, seeds=1, stage=1, samples=4, embed_dim=24)
    setting = field.setting
    assert setting.window_pixels == (28, 28)
    assert setting.units == 64  # seven places a side, the two at the rim with half their weight
    assert setting.centre == (55.5, 55.5)


def test_the_last_stage_is_the_default_and_seeds_are_averaged():
    (field,) = scsc_lab.erf(PICO, 64, samples=2, seeds=3)
    row = field.row()
    assert (row["stage"], row["seeds"], row["images"], len(field.maps)) == ("stage4", 3, 2, 6)
    assert len({figures["r50"] for figures in row["seed_figures"]}) == 3
    (default,) = scsc_lab.erf(PICO, 64, samples=2)
    assert default.row() == row
    (first,) = scsc_lab.erf(PICO, 64, seeds=1, samples=2)
    assert first.figures()["r50"] == pytest.approx(row["seed_figures"][0]["r50"], rel=1e-4)


def test_timm_tells_its_stages():
    pytest.importorskip("timm")
    network = replace(Network.of("timm:convnext_atto"), resolution=(64, 64))
    measured = fields(network, Settings(fields=Fields(("all",), samples=1, seeds=1)))
    assert [field.setting.layer for field in measured] == ["stages.0", "stages.1", "stages.2", "stages.3"]
    assert all(field.map.sum() == pytest.approx(1) for field in measured)


def test_timm_tokens_and_windows():
    pytest.importorskip("timm")
    (vit,) = fields(Network.of("timm:vit_tiny_patch16_224"), Settings(fields=Fields(samples=1, seeds=1)))
    assert (vit.setting.layout, vit.setting.map_size, vit.setting.units) == ("nlc", (14, 14), 4)
    assert vit.setting.centre == (111.5, 111.5)
    assert vit.setting.theoretical == (224, 224)
    model = external.find("timm:swin_tiny_patch4_window7_224").make({})
    (swin,) = survey(model, ["layers.0"], (3, 224, 224), None, torch.device("cpu"))
    assert (swin.layout.name, swin.window) == ("nhwc", (28, 28))


class Tokens(nn.Module):
    """A convolution whose map is put out in some order of axes."""

    def __init__(self, order, channels=5, prefix=0):
        super().__init__()
        self.embed = nn.Conv2d(3, channels, 8, 8)
        self.out = nn.Identity()
        self.order, self.prefix = order, prefix

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        if self.order == "nhwc":
            x = x.permute(0, 2, 3, 1)
        elif self.order != "nchw":
            x = x.flatten(2)
            x = torch.cat([x[:, :, : self.prefix], x], dim=2)
            x = x.transpose(1, 2) if self.order == "nlc" else x
        return self.out(x)


@pytest.mark.parametrize(
    ("order", "prefix"), [("nchw", 0), ("nhwc", 0), ("nlc", 0), ("nlc", 1), ("ncl", 0), ("nlc", 5)]
)
def test_every_layout_gives_the_same_field(order, prefix):
    torch.manual_seed(1)
    (field,) = scsc_lab.erf(Tokens(order, prefix=prefix), (48, 96), layer="out", samples=4)
    torch.manual_seed(1)
    (expected,) = scsc_lab.erf(Tokens("nchw"), (48, 96), layer="out", samples=4)
    assert field.setting.layout == order
    assert np.allclose(field.map, expected.map)


class OneSize(Tokens):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).reshape(len(x), 8, 8, 8)


def test_an_ambiguous_shape_asks_for_the_layout_only_where_nothing_tells():
    for order in ("nchw", "nhwc"):  # the axes of the map are those that grow with the image
        (field,) = scsc_lab.erf(Tokens(order, channels=8), 64, layer="out", samples=1)
        assert (field.setting.layout, field.setting.map_size) == (order, (8, 8))
    (field,) = scsc_lab.erf(Tokens("nlc", channels=64), 64, layer="out", samples=1)
    assert field.setting.layout == "nlc"
    with pytest.raises(InputError, match="two ways: name layout nchw or layout nhwc"):
        scsc_lab.erf(nn.Sequential(OneSize("nchw", channels=8)), 64, layer="0", samples=1)
    (field,) = scsc_lab.erf(nn.Sequential(OneSize("nchw", channels=8)), 64, layer="0", samples=1, layout="nchw")
    assert field.setting.map_size == (8, 8)
    with pytest.raises(InputError, match="not a spatial map"):
        scsc_lab.erf("resnet18", 64, seeds=1, layer="fc", samples=1)
    assert layout.find((1, 2048, 1, 1), (32, 32), "x").name == "nchw"


def test_the_layers_of_torch_have_their_own_order_whatever_the_shape():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=4, padding=1), nn.Conv2d(16, 16, 3, padding=1))
    (field,) = scsc_lab.erf(model, 64, layer="1", samples=1)
    assert (field.setting.layout, field.setting.map_size) == ("nchw", (16, 16))


class Normalised(nn.Module):
    """A convolution, and a LayerNorm over its channels: their sum is the same whatever the image."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 16, 5, stride=2, padding=2)
        self.norm = nn.LayerNorm(16)

    def forward(self, x):
        return self.norm(self.conv(x).permute(0, 2, 3, 1))


def test_a_constant_sum_of_channels_is_taken_behind_a_relu_and_said_to_be():
    normalised, plain = scsc_lab.erf(Normalised(), 48, layer=["norm", "conv"], samples=4)
    assert (normalised.setting.rectified, plain.setting.rectified) == (True, False)
    assert not normalised.map[plain.map == 0].any()
    assert 0.2 < normalised.figures()["r50"] / plain.figures()["r50"] < 5


@pytest.mark.parametrize("method", ["linear", "replknet"])
@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Softmax2d()], ids=["softmax", "softmax2d"])
def test_rounding_behind_a_softmax_is_no_field(last, method):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), last)
    with pytest.raises(InputError, match=r"channels of 3 is constant.*layer before"):
        scsc_lab.erf(model, 64, layer="3", samples=2, method=method)


def test_memory_that_runs_out_halves_the_batch(monkeypatch):
    sizes = []

    def limited(model, x, layers):
        sizes.append(len(x))
        if len(x) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return run_to(model, x, layers)

    monkeypatch.setattr(metric, "run_to", limited)
    (field,) = scsc_lab.erf(small(), 48, layer="5", samples=6, batch=6)
    sums = [1]  # one image tells whether the sum of channels is constant
    assert sizes == [*sums, 6, 3, 1, 1, 1, 1, 1, 1]
    assert len(field.maps) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "stage9"}, "no stage 'stage9': one of stage1, stage2"),
        ({"layer": "layer44"}, "no layer 'layer44' in the network.*layer4"),
        ({"samples": 0}, "samples 0: a whole number from 1 to 100000"),
        ({"resolution": 16}, "takes sides from 32 pixels up"),
        ({"contribution": "squared"}, "contribution 'squared': one of abs, relu, signed"),
        ({"images": "nowhere"}, "no folder 'nowhere'"),
        ({"device": "cuda:77"}, "device 'cuda:77'"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        scsc_lab.erf("resnet18", **{"resolution": 64, **arguments})
    assert "\n" not in str(error.value)


def test_a_network_that_says_nothing_about_stages_has_one_for_each_stride():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2))
    for asked in ("all", (1, "stage2"), ("stride2", "stride4")):
        found = scsc_lab.erf(model, 48, stage=asked, samples=1)
        assert [one.setting.layer for one in found] == ["1", "2"]
    with pytest.raises(InputError, match="no stage '3': one of stage1, stage2, or all"):
        scsc_lab.erf(model, 48, stage=3, samples=1)


def test_networks_without_a_map_or_a_gradient():
    with pytest.raises(InputError, match="shows no maps of stages: name a module with layer"):
        scsc_lab.erf(nn.Sequential(nn.Flatten(), nn.Linear(3 * 48**2, 4)), 48, samples=1)
    dead = small()
    nn.init.zeros_(dead[5].weight)
    with pytest.raises(InputError, match="gradient of 5 is zero for every image"):
        scsc_lab.erf(dead, 48, layer="5", samples=1)
    nn.init.constant_(dead[5].weight, math.nan)
    with pytest.raises(InputError, match="not finite"):
        scsc_lab.erf(dead, 48, layer="5", samples=1)
    with pytest.raises(InputError, match="not run in the forward pass"):
        scsc_lab.erf(Unused(), 48, layer="unused", samples=1)


class Unused(Tokens):
    def __init__(self):
        super().__init__("nchw")
        self.unused = nn.Identity()


class Dead(nn.Module):
    """A unit that dark images do not reach."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        return self.conv(x) * (x[:, :1, :1, :1] > 0)


def test_dead_units_are_left_out_and_counted():
    drawn = images.drawn(None, 12, (32, 32), (0.5,) * 3, (0.25,) * 3, 0)
    alive = int((drawn.pixels[:, 0, 0, 0] > 0).sum())
    assert 0 < alive < 12
    torch.manual_seed(0)
    (field,) = scsc_lab.erf(nn.Sequential(Dead()), 32, layer="0", samples=12, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert field.setting.dead == 12 - alive
    assert field.map.sum() == pytest.approx(1)
    assert np.allclose(field.map, field.maps[field.maps.any(axis=(1, 2))].mean(0), atol=1e-7)
    assert 0 < field.row()["r50_low"] < field.row()["r50"] < field.row()["r50_high"]


def test_units_that_share_a_centre_have_a_field():
    layers = [nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Upsample(size=(8, 8)), nn.Conv2d(4, 4, 1)]
    model = nn.Sequential(*layers)
    (field,) = scsc_lab.erf(model, 64, layer="3", samples=2)
    assert field.setting.units == 4
    assert 0.4 < field.figures()["r50"] < 0.6  # every pixel the same: uniform, but for the padding


def test_a_field_that_is_cut_on_one_side_has_its_mask_where_it_is():
    model = nn.Sequential(nn.Conv2d(1, 1, 9, stride=8), nn.Conv2d(1, 1, 3, padding=1))  # no padding: not centred
    (field,) = scsc_lab.erf(model, 41, layer="1", samples=2, **GREY)
    assert field.setting.map_size == (5, 5)
    assert field.setting.centre == (20, 20)
    (one,) = scsc_lab.erf(nn.Sequential(nn.Conv2d(1, 1, 9, stride=8)), (41, 44), layer="0", samples=2, **GREY)
    rows, columns = np.nonzero(one.support)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 24, 16, 24)
    assert one.setting.centre == (20, 20)


def test_taller_inputs_have_areas_within_the_image():
    for shape in ((64, 32), (32, 64)):
        (field,) = scsc_lab.erf(small(), shape, layer="2", samples=2, method="replknet")
        assert all(value is None or value <= 1 for key, value in field.figures().items() if key.startswith("r9"))


def test_the_difference_of_two_networks_is_paired_by_image():
    rows = [scsc_lab.erf(name, 64, samples=6, seeds=2, stage=1)[0].row() for name in (PICO, "faceresnet_pico")]
    assert rows[0]["images_id"] == rows[1]["images_id"] != ""  # whatever the normalisation
    value, low, high = difference(*rows, "r50")
    assert value == rows[0]["r50"] - rows[1]["r50"]
    assert low < value < high
    other = scsc_lab.erf(PICO, 64, samples=6, seeds=2, stage=1, seed=7)[0].row()
    assert other["images_id"] != rows[0]["images_id"]


def test_a_file_of_maps_keeps_everything_under_the_keys_that_its_documentation_names(tmp_path):
    measured = scsc_lab.erf(PICO, 64, seeds=1, stage="all", samples=3)
    mapfile.save(measured, tmp_path / "maps.npz")
    loaded = mapfile.load(tmp_path / "maps.npz")
    assert [field.row() for field in loaded] == [field.row() for field in measured]
    assert all(np.array_equal(a.map, b.map) for a, b in zip(loaded, measured, strict=True))
    with np.load(tmp_path / "maps.npz") as file:
        assert set(file.files) == {"settings", *(f"{kind}{at}" for kind in ("maps", "support") for at in range(4))}
        assert file["maps1"].shape == (3, 64, 64)
    assert all(f"``{key}``" in str(mapfile.__doc__) for key in ("settings", "maps0", "support0"))


def test_a_file_of_another_version_or_kind(tmp_path, monkeypatch):
    (field,) = scsc_lab.erf(small(), 48, layer="2", samples=1)
    mapfile.save([field], tmp_path / "maps.npz")
    with np.load(tmp_path / "maps.npz") as file:
        arrays = dict(file)
    document = json.loads(str(arrays["settings"]))
    document["version"] = 1
    del document["settings"][0]["images_id"], document["settings"][0]["dead"]
    np.savez(tmp_path / "old.npz", **{**arrays, "settings": np.array(json.dumps(document))})
    (old,) = mapfile.load(tmp_path / "old.npz")
    assert (old.setting.images_id, old.setting.dead) == ("", 0)
    assert np.array_equal(old.map, field.map)
    monkeypatch.setattr(mapfile, "VERSION", 99)
    mapfile.save([field], tmp_path / "new.npz")
    monkeypatch.undo()
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("no maps")
    for name, message in (
        ("new.npz", "version 99; this is version 2"),
        ("other.npz", "is not a file of maps"),
        ("text.npz", "is not a file of maps"),
        ("nowhere.npz", "cannot read"),
    ):
        with pytest.raises(InputError, match=message):
            mapfile.load(tmp_path / name)


def test_a_comparison_takes_which_share_and_which_stage_and_gives_the_difference_an_interval():
    settings = Settings(fields=Fields(("2",), samples=6, seeds=2))
    networks = [Network.read(name) for name in (PICO, "resnet_pico")]
    found = runner.run([compare.experiment(networks, ["r20", "r95"], settings)]).results[0]
    assert [row["stage"] for row in found.rows] == ["stage2", "stage2"]
    first, second = found.rows
    assert "r95_difference" not in first
    assert second["r95_difference"] == pytest.approx(second["r95"] - first["r95"])
    assert second["r95_difference_low"] < second["r95_difference"] < second["r95_difference_high"]
    assert [column.heading for column in found.columns] == ["r(20%)", "r(95%)"]
    notes = " ".join(found.notes)
    assert "Of the central unit of stage2" in notes
    assert "random weights of 2 seeds" in notes
    assert {"r20", "r95"} <= set(metrics.column_names())
    assert "r20" not in metrics.default_column_names()


def test_a_network_without_maps_has_all_the_rest(tmp_path):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 4))\n"
    )
    networks = [replace(Network.of(name), resolution=(64, 64)) for name in ("resnet_pico", f"{tmp_path}/flat.py:net")]
    found = runner.run([compare.experiment(networks, ["macs", "erf"], Settings(fields=Fields(samples=1)))]).results[0]
    assert "shows no maps of stages" in found.rows[1]["erf_failure"]
    assert found.rows[1]["macs"] == 3 * 64 * 64 * 4
    assert any(note.startswith("No r(t) for") for note in found.notes)


def test_a_field_draws_itself_on_axes_of_the_users_or_its_own():
    from matplotlib.figure import Figure

    (field,) = scsc_lab.erf(small(), 48, layer="2", samples=1)
    axes = Figure().subplots(1, 2)
    assert field.plot(ax=axes[1]) is axes[1]
    (image,) = axes[1].get_images()
    assert image.get_array().shape == (48, 48)
    assert not axes[0].get_images()
    assert field.plot().figure.savefig(io.BytesIO(), format="png") is None
