"""Every mixer in every family: it runs, its gradients are finite and no larger, its output has the original's scale."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scsc_lab import SCSC, InputError, TransplantSpec, transplant
from scsc_lab.counting.count import count
from scsc_lab.models import deploy, spatial
from scsc_lab.models.calibrate import nearest_width
from scsc_lab.networks import mixers

timm = pytest.importorskip("timm")

SWIN = {
    "img_size": 64,
    "window_size": 4,
    "depths": (1, 1, 2, 1),
    "embed_dim": 48,
    "strict_img_size": False,
    "drop_path_rate": 0.0,
}
FAMILIES = {
    "convnext": ("convnext_atto", {"depths": (1, 1, 2, 1), "ls_init_value": None}),
    "resnet": ("resnet18", {"zero_init_last": False, "layers": (1, 1, 1, 1)}),
    "regnet": ("regnetx_002", {"depth": 7}),
    "efficientnet": ("efficientnet_b0", {}),
    "mobilenetv3": ("mobilenetv3_small_050", {}),
    "densenet": ("densenet121", {"block_config": (2, 2, 4, 2)}),
    "swin": ("swin_tiny_patch4_window7_224", SWIN),
    "convmixer": ("", {}),
    "inception_next": ("inception_next_atto", {"depths": (1, 1, 2, 1)}),
    "repvgg": ("repvgg_a0", {}),
    "poolformer": ("poolformer_s12", {}),
    "hrnet": ("hrnet_w18_small", {}),
}
STATISTICS = ("running_mean", "running_var")


def network(family: str) -> nn.Module:
    name, arguments = FAMILIES[family]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if family == "convmixer":  # timm's smallest is large
            return timm.models.convmixer.ConvMixer(64, 8, num_classes=10).eval()
        model: nn.Module = timm.create_model(name, num_classes=10, **arguments)
    return model.eval()


def after_a_step(model: nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """Return the norm of all gradients, and the variance of the output, in training mode."""
    model.train()
    out = model(x)
    F.cross_entropy(out.float(), torch.arange(len(x)) % out.shape[1]).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    norm = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    return norm, float(out.detach().float().var())


EVERY_FAMILY = [(family, "scsc") for family in FAMILIES]
EVERY_FAMILY += [(family, "focal") for family in ("convnext", "resnet", "densenet", "swin", "convmixer", "hrnet")]
EVERY_MIXER = [("mobilenetv3", mixer) for mixer in mixers.names() if mixer != "scsc"]


@pytest.mark.parametrize(("family", "mixer"), EVERY_FAMILY + EVERY_MIXER)
def test_a_transplant_starts_tame(family, mixer):
    model = network(family)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = torch.randn(4, 3, 64, 64)
    grafted, made = transplant(model, mixer, input_shape=(1, 3, 64, 64))
    assert any(change.replaced for change in made)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    state = grafted.state_dict()
    for key in state.keys() & before.keys():
        assert torch.equal(state[key], before[key]) or key.endswith(STATISTICS), key
    with torch.no_grad():
        images = torch.randn(32, 3, 64, 64)  # without normalising, a single image may tell the variance of few
        assert 0.1 < grafted(images).var() / model(images).var() < 10
    norm, variance = after_a_step(model, x)
    norm_after, variance_after = after_a_step(grafted, x)
    assert norm_after < 10 * norm
    assert 0.1 < variance_after / variance < 10


def test_statistics_that_data_set_stay_as_they_are():
    model = network("mobilenetv3")
    model.train()(torch.randn(8, 3, 64, 64))
    before = {key: value.clone() for key, value in model.eval().state_dict().items()}
    for mixer in mixers.names():
        state = transplant(model, mixer, input_shape=(1, 3, 64, 64))[0].state_dict()
        assert all(torch.equal(state[key], before[key]) for key in state.keys() & before.keys())


@pytest.mark.parametrize(("family", "mixer"), [("mobilenetv3", one) for one in mixers.names()] + [("swin", "scsc")])
def test_other_sides_and_bfloat16(family, mixer):
    model = network(family)
    grafted, _ = transplant(model, mixer, input_shape=(1, 3, 64, 64))
    for side in ((64, 96), (67, 45)) if family != "swin" else ((64, 64),):
        after_a_step(grafted, torch.randn(2, 3, *side))
    low, _ = transplant(network(family).bfloat16(), mixer, input_shape=(1, 3, 64, 64))
    assert {parameter.dtype for parameter in low.parameters()} == {torch.bfloat16}
    after_a_step(low, torch.randn(2, 3, 64, 64).bfloat16())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64, torch.bfloat16])
def test_networks_of_any_type(dtype):
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16)).to(dtype)
    grafted, _ = transplant(model, input_shape=(1, 3, 16, 16))
    out = grafted(torch.randn(2, 3, 16, 16).to(dtype))
    assert out.dtype == dtype
    assert out.isfinite().all()


def test_the_gradients_that_once_exploded():
    """EfficientNet-B0's were 353 times as large with SCSC in it as without."""
    model = timm.create_model("efficientnet_b0", num_classes=10)
    x = torch.randn(8, 3, 64, 64)
    grafted, _ = transplant(model, input_shape=(1, 3, 64, 64))
    assert after_a_step(grafted, x)[0] < 10 * after_a_step(model, x)[0]


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, padding=1))


def test_each_mixer_has_the_deviation_of_the_operator_it_stands_in_for():
    model = small()
    model[1].weight.data.mul_(7)
    x = torch.randn(8, 3, 32, 32)
    for mixer in set(mixers.names()) - {"pooling", "identity", "inception"}:
        grafted, _ = transplant(model, mixer, input_shape=(1, 3, 32, 32))
        with torch.no_grad():
            for index in (1, 2):
                ratio = grafted[: index + 1](x).std() / model[: index + 1](x).std()
                assert 0.7 < ratio < 1.4, (mixer, index, ratio)


def test_a_function_makes_mixers_too():
    made = []

    def block(c_in, c_out, stride):
        made.append((c_in, c_out, stride))
        return nn.Conv2d(c_in, c_out, 5, stride, padding=2)

    grafted, changes = transplant(small(), block, input_shape=(1, 3, 16, 16))
    assert made == [(8, 8, 1), (8, 16, 2)]
    assert grafted[1].kernel_size == (5, 5)
    assert changes[0].reason == "block"
    with pytest.raises(InputError, match="'kernels' is a setting of SCSC"):
        transplant(small(), block, kernels=3)
    for wrong in (5, nn.Conv2d(8, 8, 3)):
        with pytest.raises(InputError, match="does not make mixers: give a name"):
            transplant(small(), wrong)


def test_ones_own_file_runs_once_with_what_lies_beside_it(tmp_path, capsys):
    (tmp_path / "beside.py").write_text("SIDE = 3")
    late = OWN.replace(
        "        super().__init__()\n", "        super().__init__()\n        from beside import SIDE\n", 1
    )
    path = tmp_path / "late.py"
    path.write_text("print('run')\n" + late)
    _, made = transplant(small(), f"{path}:Block", input_shape=(1, 3, 16, 16))
    assert sum(change.replaced for change in made) == 2
    assert capsys.readouterr().out == "run\n"


OWN = """
from torch import nn
class Block(nn.Module):
    def __init__(self, c_in, c_out, stride=1, kernel: int = 3, crop=False):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=0 if crop else kernel // 2)
    def forward(self, x):
        return self.conv(x)
class Broken(Block):
    def forward(self, x):
        return self.missing(x)
def none(c_in, c_out, stride):
    return None
def without_stride(c_in, c_out):
    return nn.Conv2d(c_in, c_out, 3, padding=1)
def ends(c_in, c_out, stride):
    raise SystemExit(3)
class Doubles(Block):
    def forward(self, x):
        return self.conv(x).double()
class Contains(Block):
    def __init__(self, *args):
        super().__init__(*args)
        self.me = self
"""


def test_ones_own_file(tmp_path):
    path = tmp_path / "my_block.py"
    path.write_text(OWN)
    grafted, _ = transplant(small(), f"{path}:Block", kernel=5, input_shape=(1, 3, 16, 16))
    assert grafted[1].conv.kernel_size == (5, 5)
    due = r"Block crop true gives 1×8×14×14 from 1×8×16×16 in place of 1: 1×8×16×16 is due$"
    for name, message in {
        "Block": due,
        "Broken": r"Broken fails on a map of 1×8×16×16: Attr",
        "none": "returned NoneType",
        "without_stride": "without_stride does not take input channels, output channels and the stride: too many",
        "ends": r"ends\(8, 8, 1\) cannot be built: SystemExit: 3",
        "Doubles": "1×8×16×16 of torch.float32 is due$",
        "Contains": "its module 'me' contains itself",
    }.items():
        rules = {"crop": True} if name == "Block" else {}
        with pytest.raises(InputError, match=message):
            transplant(small(), f"{path}:{name}", input_shape=(1, 3, 16, 16), **rules)
    with pytest.raises(InputError, match="has no factory 'Blok'; did you mean Block"):
        transplant(small(), f"{path}:Blok", input_shape=(1, 3, 16, 16))


CONTEXT = "stages.2.blocks.1.context_module.main"


@pytest.mark.parametrize(
    ("name", "side", "stay"),
    [
        ("ghostnet_050", 64, {"blocks.1.0.shortcut.0": "it is a shortcut"}),
        ("fastvit_t8", 64, {"stages.1.downsample.proj.0.large_conv.conv": "one of several branches of one layer"}),
        (
            "hrnet_w18_small",
            64,
            {
                "conv2": "it is a part of the stem",
                "stage2.0.fuse_layers.1.0.0.0": "it fuses maps of several resolutions",
            },
        ),
        ("resnet18d", 64, {"conv1.3": "it is a part of the stem"}),
        (
            "efficientvit_b0",
            64,
            {"stages.2.blocks.1.context_module.main.aggreg.0.0": "it aggregates queries, keys and values"},
        ),
        ("inception_next_atto", 64, {"stages.0.blocks.0.token_mixer.dwconv_w": "not square"}),
        ("poolformer_s12", 64, {"stages.0.blocks.0.token_mixer": "a token mixer without weights"}),
    ],
)
def test_what_is_not_there_to_mix_stays_and_is_listed(name, side, stay):
    with torch.device("meta"):
        model = timm.create_model(name)
    _, made = transplant(model, input_shape=(1, 3, side, side))
    reasons = {change.name: change.reason for change in made if not change.replaced}
    assert stay.items() <= reasons.items(), {key: reasons.get(key) for key in stay}


def test_all_branches_of_reparametrised_blocks_stay():
    with torch.device("meta"):
        model = timm.create_model("mobileone_s0")
    found, _ = spatial.find(model, torch.zeros(1, 3, 64, 64, device="meta"), TransplantSpec())
    assert [one.stays for one in found].count("one of several branches of one layer") == len(found) - 1


def test_what_is_named_is_replaced_all_the_same():
    with torch.device("meta"):
        model = timm.create_model("ghostnet_050")
    _, made = transplant(model, names="blocks.1.0.shortcut.0", input_shape=(1, 3, 64, 64))
    assert [(change.name, change.replaced) for change in made] == [("blocks.1.0.shortcut.0", True)]


@pytest.mark.parametrize("match", ["macs", "params"])
@pytest.mark.parametrize("mixer", ["scsc", "mixconv", "identity", "focal"])
def test_a_width_at_which_the_network_costs_the_same(mixer, match):
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    shape = (1, 3, 96, 96)
    grafted, made = transplant(model, mixer, match=match, input_shape=shape)
    before, after = (getattr(count(net, shape), match) for net in (model, grafted))
    assert abs(after / before - 1) < 0.01
    words = next(change.reason for change in made if change.replaced)
    assert " width " in words
    assert f"{100 * (after / before - 1):+.1f} % {match}" in words


def test_a_width_that_cannot_be_reached_is_said():
    with torch.device("meta"):
        model = timm.create_model("mobilenetv3_small_050")
    grafted, made = transplant(model, match="macs", input_shape=(1, 3, 64, 64))
    before, after = (count(net, (1, 3, 64, 64)).macs for net in (model, grafted))
    words = next(change.reason for change in made if change.replaced)
    assert abs(after / before - 1) > 0.01
    assert words.endswith(f"{100 * (after / before - 1):+.1f} % macs (no width comes nearer)")


class Chain(nn.Module):
    """Three convolutions: the second is used several times, and the network may look into it."""

    def __init__(self, times=1, *, looks=False, aliased=False):
        super().__init__()
        self.stem, self.first, self.middle, self.last = (
            nn.Conv2d(given, 32, side, padding=side // 2) for given, side in ((3, 1), (32, 3), (32, 3), (32, 3))
        )
        self.times, self.looks = times, looks
        self.again = self.middle if aliased else nn.Identity()

    def forward(self, x):
        x = self.first(self.stem(x))
        if self.looks and not isinstance(self.middle, nn.Conv2d):
            raise TypeError
        for _ in range(self.times):
            x = self.middle(x).relu()
        return self.last(self.again(x))


@pytest.mark.parametrize("match", ["macs", "params"])
@pytest.mark.parametrize("mixer", ["scsc", "mixconv", "focal"])
@pytest.mark.parametrize("chain", [{"times": 3}, {"looks": True}, {"aliased": True}])
def test_the_share_that_is_stated_is_the_networks_own(chain, mixer, match):
    """Also where a module runs more than once, is held twice, or stays because the network looks into it."""
    model, shape = Chain(**chain), (1, 3, 16, 24)
    grafted, made = transplant(model, mixer, match=match, input_shape=shape)
    share = getattr(count(grafted, shape), match) / getattr(count(model, shape), match) - 1
    assert {change.name: change.replaced for change in made} == {
        "first": True,
        "middle": not chain.get("looks"),
        "last": True,
    }
    assert abs(share) < 0.03  # of SCSC's 32 channels as many as its groups are one step
    for change in made:
        assert not change.replaced or f"{100 * share:+.1f} % {match}" in change.reason
        assert not change.replaced or ("no width comes nearer" in change.reason) == (abs(share) > 0.01)


def test_a_width_too_narrow_for_a_mixer_is_not_taken_for_the_same_cost():
    kernels = tuple(range(3, 29, 2))  # 13, and at the least width there are 8 channels
    _, made = transplant(Chain(), "mixconv", kernels=kernels, match="macs", input_shape=(1, 3, 16, 16))
    assert all(change.replaced for change in made)


def test_a_module_that_is_held_twice_is_replaced_in_both_places():
    grafted, _ = transplant(Chain(aliased=True), "mixconv", input_shape=(1, 3, 16, 16))
    assert grafted.again is grafted.middle
    assert type(grafted.middle).__name__ == "MixConv"


def test_what_a_network_holds_out_of_sight_stays():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.seen, self.kept = (nn.Conv2d(n, 8, 3, padding=1) for n in (3, 8, 8))
            self.list = [self.kept]

        def forward(self, x):
            return self.list[0](self.seen(self.stem(x)))

    _, made = transplant(Hidden(), "mixconv", input_shape=(1, 3, 16, 16))
    reasons = {change.name: change.reason for change in made}
    assert reasons["seen"] == "mixconv"
    assert reasons["kept"] == "the network holds it where it cannot be replaced"


def test_weights_that_are_buffers_and_errors_that_say_nothing():
    model = Chain(looks=True)
    for name in ("weight", "bias"):
        value = getattr(model.first, name).data
        delattr(model.first, name)
        model.first.register_buffer(name, value)
    _, made = transplant(model, "mixconv", input_shape=(1, 3, 16, 16))
    assert [change.replaced for change in made] == [True, False, True]
    assert made[1].reason == "the network cannot do without it (TypeError)"


def test_a_wrong_setting_is_named_before_what_stays_anyway():
    with pytest.raises(InputError, match=r"in ResNet: 16 × kernels has 4: a .*, 1 × its input"):
        transplant(timm.create_model("resnet18"), "mixconv", kernels=4, input_shape=(1, 3, 32, 32))


def test_the_nearest_width():
    assert nearest_width(lambda width: width / 3)[0] == pytest.approx(3, rel=0.01)
    assert nearest_width(lambda width: width * 20)[0] == pytest.approx(0.05, rel=0.01)
    assert nearest_width(lambda width: 2 + width) == (1 / 64, 2 + 1 / 64)
    assert nearest_width(lambda width: 0.5)[1] == 0.5


def test_the_control_at_equal_width():
    largest = SCSC(96, 96, (13,), reduction=1 / 3)
    assert largest.reduce.out_channels == SCSC(96, 96, (3, 9, 13)).reduce.out_channels == 32


def test_merging_in_the_deploy_form():
    model = small()
    grafted, _ = transplant(model, "dilated_reparam", input_shape=(1, 3, 16, 16))
    merged = deploy.deploy(grafted.eval(), (1, 3, 16, 16))
    assert type(merged[1]).__name__ == "DepthwiseConv2d"
    x = torch.randn(2, 3, 19, 16)
    with torch.no_grad():
        torch.testing.assert_close(merged(x), grafted(x), rtol=1e-4, atol=1e-4)
    assert count(merged, x.shape).macs < count(grafted, x.shape).macs


def test_rules_beside_a_spec_are_a_mistake():
    with pytest.raises(InputError, match="'stages' is given as well as a TransplantSpec"):
        transplant(small(), TransplantSpec(), stages=1)
