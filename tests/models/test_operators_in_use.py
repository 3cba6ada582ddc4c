"""Transplants into networks in use: fed with features, with shared, hooked or compiled operators."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from scsc_lab import SCSC, InputError, transplant
from scsc_lab.models.declared import is_wrapper


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def replaced(model: nn.Module, shape: tuple[int, ...], **rules) -> list[str]:
    return [change.name for change in transplant(model, input_shape=shape, **rules)[1] if change.replaced]


class Normalised(nn.Module):
    """A network that normalises the image itself, and shares a tensor between two stems."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.norm, self.body, self.side = nn.BatchNorm2d(3), body, convolution(3, 8)

    def forward(self, x):
        x = self.norm((x - 0.5) / 0.2)
        return self.body(x) + self.side(x)


@pytest.mark.parametrize("channels", [1, 3, 8, 64])
def test_a_block_that_is_given_features_is_replaced(channels):
    block = nn.Sequential(convolution(channels, channels), nn.ReLU(), convolution(channels, channels))
    assert replaced(block, (1, channels, 16, 16), kernels=3, groups=1) == ["0", "2"]


def test_three_channels_inside_a_network_are_no_image():
    model = nn.Sequential(nn.Conv2d(8, 3, 1), convolution(3, 9), convolution(9, 9))
    assert replaced(model, (1, 8, 16, 16)) == ["1", "2"]
    model = nn.Sequential(nn.Conv2d(3, 3, 1), convolution(3, 9), convolution(9, 9))
    assert replaced(model, (1, 3, 16, 16)) == ["1", "2"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_stem_of_an_image_stays_unless_it_is_named(channels):
    model = nn.Sequential(convolution(channels, 8), nn.ReLU(), convolution(8, 8))
    _, made = transplant(model, input_shape=(1, channels, 16, 16))
    assert [change.reason for change in made if not change.replaced] == ["its input is the image"]
    assert replaced(model, (1, channels, 16, 16), names="0", kernels=3, groups=1) == ["0"]


def test_a_transplant_that_fits_nowhere_counts_all_reasons():
    model = nn.Sequential(convolution(3, 8), nn.Conv2d(8, 8, 3, 3), nn.Conv2d(8, 8, 3, 3))
    message = r": 2 × stride 3 \(1; no rule: .*\), 1 × its input is the image \(names=0 replaces it\)$"
    with pytest.raises(InputError, match=message):
        transplant(model, input_shape=(1, 3, 27, 27))
    assert replaced(model, (1, 3, 27, 27), names="0", kernels=3, groups=1) == ["0"]


class TwoSides(nn.Module):
    """A block of one's own with two convolutions of one map; or one that merges them for inference."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.h, self.gate = convolution(channels, channels), convolution(channels, channels)

    def forward(self, x):
        return self.h(x) + self.gate(x)


class Merging(TwoSides):
    def switch_to_deploy(self):
        raise NotImplementedError


class Fusing(TwoSides):
    def fuse(self, other):
        """Take an argument: no method that merges branches."""


@pytest.mark.parametrize(("block", "expected"), [(TwoSides, 2), (Fusing, 2), (Merging, 0)])
def test_convolutions_side_by_side_are_replaced_unless_their_block_merges_them(block, expected):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), block(8), convolution(8, 8))
    made = replaced(model, (1, 3, 16, 16))
    assert made == ["1.h", "1.gate", "2"][2 - expected :]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"names": "foo.*"}, r"names=foo\.\* matches none of its operators 1.h, 1.gate$"),
        ({"modules": "Twin"}, "modules=Twin matches none of its classes TwoSides$"),
        ({"stages": 4}, "stages=4 matches none of its operators"),
        ({"replace": "attention"}, "replace=attention matches none of its operators"),
        ({"kernels": (3, 5, 7, 9, 11, 13, 15, 17, 19)}, r"2 × 8 channels for 9 kernels \(1.h; change the mixer's"),
    ],
)
def test_rules_that_choose_nothing_are_named(rules, message):
    with pytest.raises(InputError, match=message):
        transplant(nn.Sequential(nn.Conv2d(3, 8, 1), TwoSides(8)), input_shape=(1, 3, 16, 16), **rules)


def test_rivals_stand_in_the_same_places():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), TwoSides(8), TwoSides(8))
    places = {
        mixer: [change.name for change in transplant(model, mixer, modules="TwoSides", input_shape=(1, 3, 16, 16))[1]]
        for mixer in ("scsc", "inception", "identity")
    }
    assert [*places.values()] == [["1", "2"]] * 3


class Used(nn.Module):
    """A convolution of 8 channels, used by a function."""

    def __init__(self, run, **parts: nn.Module) -> None:
        super().__init__()
        self.stem, self.conv, self.run = nn.Conv2d(3, 8, 1), convolution(8, 8), run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.run(self, self.stem(x))


@pytest.mark.parametrize(
    "change", [lambda x, y: x + y.mul_(2), lambda x, y: y + x.mul_(2), lambda x, y: x * y.permute(0, 1, 3, 2).relu_()]
)
def test_a_mixer_that_gives_its_input_on_is_not_changed_with_it(change):
    model = Used(lambda self, x: change(x, self.conv(x)))
    for mixer in ("identity", lambda c_in, c_out, stride: nn.Identity()):
        grafted, _ = transplant(model, mixer, input_shape=(1, 3, 8, 8))
        x = torch.randn(2, 3, 8, 8)
        with torch.no_grad():
            maps = model.stem(x)
            torch.testing.assert_close(grafted(x), change(maps.clone(), maps.clone()))


def test_the_modes_of_modules_stay():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), convolution(8, 8), nn.BatchNorm2d(8), nn.Sequential(convolution(8, 8)))
    model.train()[2].eval()
    model[3].eval()
    grafted, _ = transplant(model, input_shape=(1, 3, 16, 16))
    modes = [(module.training, {part.training for part in module.modules()}) for module in grafted]
    assert [*modes] == [(True, {True}), (True, {True}), (False, {False}), (False, {False})]
    assert grafted.training


def test_tied_weights_stay_tied_unless_they_are_named():
    model = Used(lambda self, x: self.transposed(self.conv(x)), transposed=nn.ConvTranspose2d(8, 8, 3, padding=1))
    model.transposed.weight = model.conv.weight
    with pytest.raises(InputError, match=r"1 × its weight is tied to transposed \(names=conv replaces it\)"):
        transplant(model, input_shape=(1, 3, 16, 16))
    assert replaced(model, (1, 3, 16, 16), names="conv") == ["conv"]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("script", [torch.jit.script, lambda layer: torch.jit.trace(layer, torch.ones(1, 8, 16, 16))])
def test_torchscript_inside_a_network_stays(script):
    model = nn.Sequential(nn.Conv2d(3, 8, 1), script(convolution(8, 8)), convolution(8, 8))
    assert replaced(model, (1, 3, 16, 16)) == ["2"]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda self, x: self.conv(x) * self.conv.weight.mean(), "has no attribute 'weight'"),
        (lambda self, x: self.conv(input=x), "unexpected keyword argument 'input'"),
        (lambda self, x: torch.conv2d(x, self.conv.weight, padding=1), "the forward pass never gave it a map"),
    ],
)
def test_a_network_that_needs_the_operator_keeps_it_for_a_true_reason(run, reason):
    with pytest.raises(InputError, match=rf"1 × .*{reason}.* \(conv; no rule: a mixer could not stand in for it\)$"):
        transplant(Used(run), input_shape=(1, 3, 16, 16))


def test_the_stem_of_a_multispectral_image_stays():
    model = nn.Sequential(convolution(12, 32), *(convolution(32, 32) for _ in range(4)))
    assert replaced(model, (1, 12, 16, 16)) == ["1", "2", "3", "4"]


def test_an_image_that_the_network_normalises_is_still_one():
    model = Normalised(nn.Sequential(convolution(3, 8), convolution(8, 8)))
    _, made = transplant(model, input_shape=(1, 3, 16, 16))
    assert [change.name for change in made if change.replaced] == ["body.1"]
    assert {change.reason for change in made if not change.replaced} == {"its input is the image"}


class Recurrent(nn.Module):
    def __init__(self, conv: nn.Module, times: int = 3, *, norm: bool = False, pool: bool = False) -> None:
        super().__init__()
        self.stem, self.conv, self.times = nn.Conv2d(3, 16, 1), conv, times
        self.norm = nn.BatchNorm2d(16) if norm else nn.Identity()
        self.pool = nn.AvgPool2d(2) if pool else nn.Identity()

    def outputs(self, x):
        x, outputs = self.stem(x), []
        for _ in range(self.times):
            x = self.norm(self.conv(x))
            outputs.append(x)
            x = self.pool(x)
        return outputs

    def forward(self, x):
        return self.outputs(x)[-1]


@pytest.mark.parametrize("mixer", ["scsc", "focal", "mixconv", "large_kernel_attention"])
@pytest.mark.parametrize("options", [{}, {"norm": True}, {"pool": True}])
def test_a_convolution_that_is_called_several_times_is_calibrated_on_all_calls(mixer, options):
    model = Recurrent(convolution(16, 16), **options).eval()
    grafted, _ = transplant(model, mixer, input_shape=(1, 3, 32, 32))
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        before, after = ([float(y.std()) for y in net.outputs(x)] for net in (model, grafted))
    joint = [sum(value**2 for value in deviations) ** 0.5 for deviations in (before, after)]
    assert 0.6 < joint[1] / joint[0] < 1.6
    assert all(0.3 < b / a < 3 for a, b in zip(before, after, strict=True)), (before, after)


class Doubles:
    """A hook that doubles an output, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, module, args, *rest):
        self.calls += 1
        return 2 * rest[-1]


def test_hooks_of_what_is_replaced_go_on():
    conv = convolution(8, 8)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), conv)
    plain, _ = transplant(model, input_shape=(1, 3, 16, 16))
    hook, seen = Doubles(), []
    conv.register_forward_hook(hook)
    conv.register_forward_pre_hook(lambda module, args, kwargs: seen.append("pre"), with_kwargs=True)
    conv.register_forward_hook(lambda module, args, kwargs, out: seen.append("post"), with_kwargs=True)
    conv.register_forward_hook(lambda module, args, out: seen.append("always"), always_call=True)
    conv.register_full_backward_hook(lambda module, given, out: seen.append("back"))
    grafted, made = transplant(model, input_shape=(1, 3, 16, 16))
    assert made[0].replaced
    x = torch.randn(2, 3, 16, 16)
    seen.clear()
    torch.testing.assert_close(grafted(x), 2 * plain(x))
    assert seen == ["pre", "post", "always"]
    grafted(x).sum().backward()
    assert seen[-1] == "back"
    grafted[1].mixer.forward = None  # fails: only hooks that are always called run
    seen.clear()
    with pytest.raises(TypeError):
        grafted(x)
    assert seen == ["pre", "always"]
    assert len(conv._forward_hooks) == 3


def test_hooks_that_cannot_go_on_keep_the_operator():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), convolution(8, 8), convolution(8, 8), convolution(8, 8))
    model[1].register_forward_pre_hook(lambda module, args: module.kernel_size and None)
    prune.l1_unstructured(model[2], "weight", 0.5)
    with torch.no_grad():
        model(torch.zeros(1, 3, 16, 16))  # from now on it can be copied
    _, made = transplant(model, input_shape=(1, 3, 16, 16))
    assert [change.replaced for change in made] == [False, False, True]
    assert made[0].reason.startswith("the network cannot do without it (AttributeError: 'PlacedMixer' object has no")
    assert made[1].reason == "a hook computes its weight"


@pytest.mark.parametrize(
    "register",
    [
        lambda module: module.register_state_dict_post_hook(lambda *_: None),
        lambda module: module.register_state_dict_pre_hook(lambda *_: None),
        lambda module: module.register_load_state_dict_pre_hook(lambda *_: None),
        lambda module: module.register_load_state_dict_post_hook(lambda *_: None),
    ],
)
def test_hooks_of_state_dicts_keep_the_operator(register):
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)))
    register(model[1])
    _, made = transplant(model, "depthwise", input_shape=(1, 3, 8, 8), names=("0", "1"))
    assert [change.replaced for change in made] == [True, False]
    assert made[1].reason == "its hooks of state dicts would be lost"


def test_hooks_of_parts_keep_the_operator():
    build = pytest.importorskip("torchvision.models").SwinTransformer
    swin = build([4, 4], 16, [1, 1], [1, 2], [4, 4])
    swin.features[1][0].attn.qkv.register_forward_hook(Doubles())
    _, made = transplant(swin, input_shape=(1, 3, 64, 64))
    assert made[1].reason == "the hooks of its part qkv would be lost"
    timm = pytest.importorskip("timm")
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", depths=(1, 1), num_heads=(1, 2), embed_dim=16, img_size=64, window_size=4
    )
    swin.layers[0].blocks[0].attn.register_forward_hook(Doubles())
    _, made = transplant(swin, input_shape=(1, 3, 64, 64))
    assert made[1].reason == "its hooks take windows, and a mixer takes maps"


def test_compiled_parts_are_replaced_inside_and_stay_compiled():
    inner = nn.Sequential(convolution(8, 8), nn.ReLU())
    model = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        torch.compile(inner, backend="eager"),
        torch.compile(convolution(8, 8), backend="eager"),
        nn.Sequential(torch.compile(nn.Sequential(torch.compile(convolution(8, 8), backend="eager")), backend="eager")),
    )
    grafted, made = transplant(model, input_shape=(1, 3, 16, 16))
    assert [(change.name, change.replaced) for change in made] == [("1.0", True), ("2", True), ("3.0.0", True)]
    assert [is_wrapper(module) for module in (grafted[1], grafted[2], grafted[3][0])] == [True] * 3
    assert sum(isinstance(module, SCSC) for module in grafted.modules()) == 3
    assert isinstance(model[1]._orig_mod[0], nn.Conv2d)
    root, _ = transplant(torch.compile(model, backend="eager"), input_shape=(1, 3, 16, 16))
    assert is_wrapper(root)
    x = torch.randn(1, 3, 16, 16)
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        assert grafted(x).shape == root(x).shape == (1, 8, 16, 16)


def test_the_random_state_stays_as_it_was(tmp_path):
    model = nn.Sequential(convolution(8, 8), convolution(8, 8))
    for mixer in ("scsc", lambda c_in, c_out, stride: convolution(c_in, c_out, stride), "nothing"):
        torch.manual_seed(3)
        before, python = torch.get_rng_state(), random.getstate()
        try:
            first, _ = transplant(model, mixer, input_shape=(1, 8, 16, 16))
            second, _ = transplant(model, mixer, input_shape=(1, 8, 16, 16))
        except InputError:
            assert mixer == "nothing"
        assert torch.equal(torch.get_rng_state(), before)
        assert random.getstate() == python
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    torch.manual_seed(4)
    third, _ = transplant(model, input_shape=(1, 8, 16, 16))
    assert not torch.equal(third[0].reduce.weight, transplant(model, input_shape=(1, 8, 16, 16))[0][1].reduce.weight)


class TwinAxis(nn.Module):
    """A block of one's own, on maps with their channels first or last."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, last: bool = False) -> None:
        super().__init__()
        self.wide = nn.Conv2d(inputs, outputs, (1, 7), stride, (0, 3))
        self.high = nn.Conv2d(inputs, outputs, (7, 1), stride, (3, 0))
        self.last = last

    def forward(self, x):
        x = x.permute(0, 3, 1, 2) if self.last else x
        y = self.wide(x) + self.high(x)
        return y.permute(0, 2, 3, 1) if self.last else y


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = nn.Conv2d(3, 12, 4, 4), TwinAxis(12, 12, last=True)

    def forward(self, x):
        return self.block(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2))


@pytest.mark.parametrize("pattern", ["TwinAxis", "Twin*", f"{__name__}.TwinAxis"])
@pytest.mark.parametrize("mixer", ["scsc", "identity", "inception"])
def test_modules_of_a_class_are_replaced_whole(pattern, mixer):
    model = nn.Sequential(
        nn.Conv2d(3, 16, 1), TwinAxis(16, 16), convolution(16, 16), nn.Sequential(TwinAxis(16, 32, 2), nn.ReLU())
    )
    grafted, made = transplant(model, mixer, modules=pattern, input_shape=(1, 3, 32, 32))
    assert [(change.name, change.kind, change.was) for change in made if change.replaced] == [
        ("1", "module", "TwinAxis"),
        ("3.0", "module", "TwinAxis"),
    ]
    assert isinstance(grafted[2], nn.Conv2d)
    x = torch.randn(8, 3, 32, 32)
    with torch.no_grad():
        assert grafted(x).shape == model(x).shape
        assert 0.5 < grafted[:2](x).std() / model[:2](x).std() < 2


def test_modules_on_maps_with_their_channels_last():
    model = ChannelsLast()
    grafted, made = transplant(model, modules="TwinAxis", input_shape=(1, 3, 64, 64))
    assert [change.replaced for change in made] == [True]
    assert grafted(torch.zeros(2, 3, 64, 64)).shape == (2, 12)


def test_only_the_outermost_modules_of_a_class_and_only_where_a_mixer_fits():
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sequential(TwinAxis(8, 8)), nn.Flatten(2))
    assert replaced(model, (1, 3, 16, 16), modules="*Sequential,TwinAxis") == ["1"]
    with pytest.raises(InputError, match=r"1 × the forward pass never gave it a map \(2;"):
        transplant(model, modules="Flatten", input_shape=(1, 3, 16, 16))
    with pytest.raises(InputError, match=r"modules=TwinAxes matches none of its classes TwinAxis$"):
        transplant(model, modules="TwinAxes", input_shape=(1, 3, 16, 16))


def test_hooks_of_weights_go_on():
    model, calls = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))), []
    model[2].weight.register_hook(lambda grad: calls.append("gradient"))
    model[2].weight.register_post_accumulate_grad_hook(lambda weight: calls.append("accumulated"))
    grafted, _ = transplant(model, "depthwise", input_shape=(1, 3, 8, 8), names=("1",))
    grafted(torch.ones(1, 3, 8, 8)).sum().backward()
    assert calls == ["gradient", "accumulated"]
    assert model[2].weight.grad is None
    _, made = transplant(model, "depthwise", input_shape=(1, 3, 8, 8), names=("1", "2"))
    assert [change.reason for change in made][1] == "the hooks of its weights would be lost"
