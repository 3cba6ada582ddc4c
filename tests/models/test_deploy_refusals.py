"""What must not be folded is left alone or refused: the deploy form never computes something else."""

from __future__ import annotations

import itertools
import types
from dataclasses import replace

import pytest
import torch
from test_deploy import Pair, with_statistics
from torch import nn
from torch.nn import functional as F

import scsc_lab
from scsc_lab import SCSC, InputError
from scsc_lab.layers import fused
from scsc_lab.layers.fused import FusedSCSC
from scsc_lab.layers.pointwise import DropPath
from scsc_lab.models import deploy as deploying
from scsc_lab.models.deploy import deploy
from scsc_lab.models.swin import SCSCSwinBlock

SIZES = ((1, 3, 32, 32), (2, 3, 16, 16), (1, 3, 16, 40), (3, 3, 48, 48))


def same_or_refused(model: nn.Module) -> nn.Module | None:
    """Deploy a network; hold it against the original at several sizes unless it is refused in one line."""
    model = with_statistics_if_any(model).eval()
    with torch.no_grad():
        model(torch.randn(SIZES[0]))
    try:
        deployed = deploy(model, SIZES[0])
    except InputError as error:
        if "\n" in str(error):
            raise
        return None
    modes = (torch.no_grad, torch.enable_grad, torch.inference_mode)
    cases = [*itertools.product(SIZES, (1.0, -1.0, 100.0), modes[:1]), *((SIZES[0], 1.0, mode) for mode in modes[1:])]
    for shape, scale, mode in cases:
        x = torch.rand(shape) * scale
        x = x.contiguous(memory_format=torch.channels_last) if mode is torch.inference_mode else x
        with mode():
            expected, out = model(x.clone()).detach(), deployed(x.clone()).detach()
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    return deployed


def with_statistics_if_any(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.25, 4.0)
    return model


class Skipping(SCSC):
    def forward(self, x):
        return x + super().forward(x)


def scsc(**parts: nn.Module) -> nn.Module:
    module = SCSC(3, 3, (3, 5), groups=1, reduction=2 / 3)
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def hooked(name: str, kind: str) -> nn.Module:
    module = scsc()
    register = getattr(module.get_submodule(name), f"register_{kind}")
    if "backward" in kind:
        register(lambda *_: None)
    elif "pre" in kind:
        register(lambda _, args: (args[0] * 2,))
    else:
        register(lambda _, args, out: out * 2)
    return module


def wrapped(model: nn.Module, name: str) -> nn.Module:
    """Set a method on an instance, as tools that wrap ``forward`` do."""
    module = model.get_submodule(name)
    original = module.forward
    module.forward = types.MethodType(lambda self, x: original(x) * 2, module)
    return model


SCSC_CASES = {
    "a subclass": lambda: Skipping(3, 3, (3, 5), groups=1),
    "another activation": lambda: scsc(activation=nn.ReLU()),
    "another gate of channels": lambda: scsc(se=nn.Sigmoid()),
    "another reduction": lambda: scsc(reduce=nn.Conv2d(3, 2, 3, padding=1, bias=False)),
    "another norm": lambda: scsc(recover_norm=nn.InstanceNorm2d(3, affine=True)),
    "an activation of another kind": lambda: scsc(activation=nn.GELU(approximate="tanh")),
    **{
        f"{kind} on {name or 'SCSC'}": lambda name=name, kind=kind: hooked(name, kind)
        for name in ("", "reduce", "encoder", "encoder.0", "encoder_norm", "activation", "se")
        for kind in ("forward_hook", "forward_pre_hook")
    },
    "full_backward_hook on reduce": lambda: hooked("reduce", "full_backward_hook"),
    "forward wrapped": lambda: wrapped(scsc(), ""),
    "forward of a part wrapped": lambda: wrapped(scsc(), "recover_norm"),
    "a parametrised part": lambda: parametrised(scsc()),
    "no statistics": lambda: scsc(reduce_norm=nn.BatchNorm2d(2, track_running_stats=False)),
    "a part that trains": lambda: Training(scsc()),
    "a part called from outside": lambda: Outside(lambda self, x: self.scsc(x) + self.scsc.se(x)),
    "a weight read from outside": lambda: Outside(lambda self, x: self.scsc(x) * self.scsc.recover.weight.mean()),
    "a norm read from outside": lambda: Outside(lambda self, x: self.scsc(x) * self.scsc.recover_norm.weight.mean()),
}


def parametrised(module: nn.Module) -> nn.Module:
    nn.utils.parametrizations.weight_norm(module.recover)
    return module


class Outside(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.scsc, self.run = scsc(), run

    def forward(self, x):
        return self.run(self, x)


class Training(nn.Module):
    """A network that puts one BatchNorm into training mode by itself."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        self.inner.recover_norm.training = True
        self.inner.recover_norm.momentum = 0.0
        return self.inner(x)


@pytest.mark.parametrize("case", SCSC_CASES)
def test_an_scsc_that_computes_more_is_not_fused(case):
    deployed = same_or_refused(SCSC_CASES[case]())
    assert deployed is None or not any(isinstance(module, FusedSCSC) for module in deployed.modules())


def other(self: nn.Module, name: str, module: nn.Module) -> nn.Module:
    setattr(self, name, module)
    return self


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 3, 3, padding=1)


def by_size(self, x):
    return self.bns[str(x.shape[-1] > 20)](self.conv1(x))


def norms(run) -> nn.Module:
    keys = ("True", "False")
    return other(Pair(run), "bns", nn.ModuleDict({key: nn.BatchNorm2d(3) for key in keys}))


def unbiased() -> nn.Module:
    return nn.Conv2d(3, 3, 3, padding=1, bias=False)


def idle_tie() -> nn.Module:
    model = other(Pair(lambda self, x: self.bn1(self.conv1(x))), "idle", conv())
    model.idle.weight = model.conv1.weight
    return nn.Sequential(model)


def compiled(self, x):
    self.seen = self.conv1(x)
    return self.bn1(self.seen)


def functional(self, x):
    return self.bn1(F.conv2d(x, self.conv1.weight, padding=1))


def statistics(self, x):
    y = self.conv1(x)
    return F.batch_norm(y, self.bn1.running_mean, self.bn1.running_var, self.bn1.weight, self.bn1.bias)


def times(self, x):
    for _ in range(x.shape[-1] // 16):
        x = self.bn1(self.conv1(x))
    return x


def exchanged(self, x):
    self.conv1.weight.data = self.conv1.weight.data.sign() * x.mean().abs()
    return self.bn1(self.conv1(x))


PAIR_CASES = {
    "the weight alone is used": lambda: Pair(functional),
    "the statistics alone are used": lambda: Pair(statistics),
    "the output is read through .mT": lambda: Pair(lambda self, x: self.bn1(y := self.conv1(x)) + y.mT.sum()),
    "the output is read through .data": lambda: Pair(lambda self, x: self.bn1(y := self.conv1(x)) + y.data.sum()),
    "the output is read through .detach": lambda: Pair(lambda self, x: self.bn1(y := self.conv1(x)) + y.detach()),
    "the output is read as an array": lambda: Pair(lambda self, x: self.bn1(y := self.conv1(x)) + y.numpy().sum()),
    "the output is kept": lambda: Pair(lambda self, x: compiled(self, x) + self.seen),
    "the norm is chosen by size": lambda: norms(by_size),
    "the norm is chosen by value": lambda: norms(lambda self, x: self.bns[str(bool(x.mean() > 0))](self.conv1(x))),
    "the norm is chosen by rank of value": lambda: norms(
        lambda self, x: self.bns[str(x.max().item() > 50)](self.conv1(x))
    ),
    "more for a value that is seldom": lambda: Pair(
        lambda self, x: self.bn1(self.conv1(x).relu() if x.max() > 50 else self.conv1(x))
    ),
    "the convolution alone with gradients": lambda: Pair(
        lambda self, x: self.conv1(x) if torch.is_grad_enabled() else self.bn1(self.conv1(x))
    ),
    "the convolution alone in the layout channels last": lambda: Pair(
        lambda self, x: self.bn1(self.conv1(x)) if x.is_contiguous() else self.conv1(x)
    ),
    "the output is read again with gradients": lambda: Pair(
        lambda self, x: self.bn1(y := self.conv1(x)) + (y if torch.is_grad_enabled() else 0)
    ),
    "the convolution alone in inference mode": lambda: Pair(
        lambda self, x: self.conv1(x) if torch.is_inference_mode_enabled() else self.bn1(self.conv1(x))
    ),
    "a norm only in training": lambda: norms(lambda self, x: self.bns[str(self.training)](self.conv1(x))),
    "called as often as the size wants": lambda: Pair(times),
    "a weight that the pass sets": lambda: Pair(exchanged),
    "a bias that decides": lambda: other(
        Pair(lambda self, x: self.bn1(self.conv1(x)) * (2 - (self.conv1.bias is None))), "conv1", unbiased()
    ),
    "an attribute of the norm": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) * self.bn1.eps),
    "forward of the norm is wrapped": lambda: wrapped(Pair(lambda self, x: self.bn1(self.conv1(x))), "bn1"),
    "forward of the convolution is wrapped": lambda: wrapped(Pair(lambda self, x: self.bn1(self.conv1(x))), "conv1"),
    "called past __call__": lambda: Pair(
        lambda self, x: self.bn1.forward(self.conv1.forward(x)) + self.conv1.forward(x)
    ),
    "called past forward": lambda: Pair(
        lambda self, x: self.bn1(self.conv1._conv_forward(x, self.conv1.weight, self.conv1.bias))
    ),
    "a scripted user": lambda: other(
        Pair(lambda self, x: self.bn1(y := self.conv1(x)) + self.user(y)),
        "user",
        torch.jit.trace(nn.ReLU(), torch.ones(1)),
    ),
    "more from 40 pixels": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) if x.shape[-1] < 40 else self.conv1(x)),
    "more at some sides": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) if x.shape[-1] % 8 == 0 else x),
    "more for images that are not square": lambda: Pair(
        lambda self, x: self.bn1(self.conv1(x)) if x.shape[-1] == x.shape[-2] else self.conv1(x)
    ),
    "more for three images": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) if len(x) < 3 else self.conv1(x)),
    "a count of parameters": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) * len([*self.parameters()])),
    "a type": lambda: Pair(lambda self, x: self.bn1(self.conv1(x)) + isinstance(self.bn1, nn.BatchNorm2d)),
    "a norm that always trains": lambda: other(Pair(lambda self, x: self.bn1(self.conv1(x))), "bn1", AlwaysTraining(3)),
    "a backward hook": lambda: backward(Pair(lambda self, x: self.bn1(self.conv1(x)))),
}


class AlwaysTraining(nn.BatchNorm2d):
    def train(self, mode=True):
        return super().train(True)


def backward(model):
    model.conv1.register_full_backward_hook(lambda *_: None)
    return model


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("case", PAIR_CASES)
def test_a_norm_with_another_use_or_partner_is_not_folded(case):
    deployed = same_or_refused(PAIR_CASES[case]())
    assert deployed is None or any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())


FOLDED = {
    "a tie to a convolution that does not run": lambda: nn.Sequential(conv(), nn.BatchNorm2d(3), idle_tie()),
    "no affine": lambda: nn.Sequential(conv(), nn.BatchNorm2d(3, affine=False)),
    "circular padding": lambda: nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(3)
    ),
    "statistics of all batches": lambda: nn.Sequential(conv(), nn.BatchNorm2d(3, momentum=None)),
    "SCSC without affine": lambda: scsc(
        reduce_norm=nn.BatchNorm2d(2, affine=False),
        encoder_norm=nn.BatchNorm2d(4, affine=False),
        recover_norm=nn.BatchNorm2d(3, affine=False),
    ),
}


@pytest.mark.parametrize("case", FOLDED)
def test_what_is_certain_is_folded(case):
    deployed = same_or_refused(FOLDED[case]())
    assert deployed is not None
    if "tie" not in case:
        assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())


def test_a_block_without_affine_or_with_hooks():
    def block(change):
        model = SCSCSwinBlock(8, 16, deploying_spec(), 0.0)
        change(model)
        return nn.Sequential(Tokens(), model)

    x = torch.randn(2, 8, 5, 7)
    changes = (
        lambda model: setattr(model, "bn", nn.BatchNorm2d(8, affine=False)),
        lambda model: setattr(model, "bn", nn.BatchNorm2d(8, track_running_stats=False)),
        lambda model: model.mlp.fc1.register_forward_hook(lambda _, args, out: out * 2),
        lambda model: setattr(model, "drop_path", nn.Tanh()),
        lambda model: setattr(model.mlp, "fc1", nn.Linear(8, 16, bias=False)),
        lambda model: setattr(model, "drop_path", DropPath(0.5)),
    )
    for change in changes:
        model = with_statistics_if_any(block(change)).eval()
        with torch.no_grad():
            torch.testing.assert_close(deploy(model, x.shape)(x), model(x), rtol=1e-4, atol=1e-4)


class Tokens(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


def deploying_spec():
    from scsc_lab.networks.specs import SCSCSpec

    return SCSCSpec((3, 5), 2)


@pytest.mark.parametrize("rate", [0.5, 0.05])
def test_a_network_that_is_random_by_itself_is_refused_with_a_true_line(rate):
    model = nn.Sequential(conv(), nn.BatchNorm2d(3), Random(rate)).eval()
    generator = torch.get_rng_state()
    with pytest.raises(InputError, match=r"two passes of the network on one input .* it is random by itself, keeps"):
        deploy(model, (1, 3, 8, 8))
    assert torch.equal(generator, torch.get_rng_state())


class Random(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        return F.dropout(x, self.rate, training=True)


def test_a_lazy_network_and_an_input_it_does_not_take_are_one_line():
    with pytest.raises(InputError, match="has lazy modules without weights: run it once before"):
        deploy(nn.Sequential(nn.LazyConv2d(4, 3), nn.BatchNorm2d(4)))
    with pytest.raises(InputError, match=r"Sequential does not take 1×5×8×8: RuntimeError: .*channels"):
        deploy(nn.Sequential(conv(), nn.BatchNorm2d(3)), (1, 5, 8, 8))


def test_a_deploy_form_that_differs_is_refused_and_names_the_place(monkeypatch):
    right = deploying.folded

    def wrong(layer, norm):
        merged = right(layer, norm)
        if layer.kernel_size == (5, 5):
            merged.bias.data += 1e-6
        return merged

    monkeypatch.setattr(deploying, "folded", wrong)
    layers = [layer for side in (3, 5, 1) for layer in (nn.Conv2d(3, 3, side), nn.BatchNorm2d(3))]
    told = r"^Sequential cannot be fused: its deploy form differs from the network by .*, as 3 is folded into 2$"
    with pytest.raises(InputError, match=told):
        deploy(with_statistics(nn.Sequential(*layers)).eval(), (1, 3, 16, 16))


def test_hooks_on_all_modules_are_seen():
    """A global hook on every BatchNorm runs no more once it is folded."""
    model = with_statistics(nn.Sequential(conv(), nn.BatchNorm2d(3))).eval()
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: 2 * out if isinstance(module, nn.BatchNorm2d) else out
    )
    try:
        with pytest.raises(InputError, match="Sequential cannot be fused: its deploy form differs"):
            deploy(model, (1, 3, 16, 16))
    finally:
        handle.remove()


class Mergeable(nn.Module):
    """A block of one's own that merges its branches by a method of its own, right or wrong."""

    def __init__(self, method, merge) -> None:
        super().__init__()
        self.conv, self.norm = conv(), nn.BatchNorm2d(3)
        setattr(self, method, types.MethodType(merge, self))

    def forward(self, x):
        return self.norm(self.conv(x)).relu() * (2 if self.training else 1)


def in_place(self):
    self.conv, self.norm = fused.folded(self.conv, self.norm), nn.Identity()


def returning(self):
    return nn.Sequential(fused.folded(self.conv, self.norm), nn.ReLU())


def by_another_forward(self):
    in_place(self)
    del self.norm
    self.forward = types.MethodType(lambda self, x: self.conv(x).relu(), self)


def while_training(self):
    self.train()
    in_place(self)


def in_float32_alone(self):  # as UniRepLKNet's blocks, which dilate their kernels with ones
    in_place(self)
    torch.ones(1) @ self.conv.weight.view(-1)[:1]


def without_the_activation(self):
    return fused.folded(self.conv, self.norm)


def fails(self):
    raise ValueError("no branches")


@pytest.mark.parametrize("method", ["fuse", "reparameterize", "switch_to_deploy"])
@pytest.mark.parametrize("merge", [in_place, returning, by_another_forward, while_training, in_float32_alone])
def test_a_blocks_own_method_is_called_and_checked(method, merge):
    deployed = same_or_refused(nn.Sequential(Mergeable(method, merge)))
    assert deployed is not None
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed[0].modules())


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        (without_the_activation, r"differs from the network by .*, as 0.fuse\(\) is called$"),
        (fails, r"^0.fuse\(\) fails: ValueError: no branches \(test_deploy_refusals.py, line \d+\)$"),
    ],
)
def test_a_blocks_own_method_that_is_wrong_is_named(merge, message):
    with pytest.raises(InputError, match=message):
        deploy(nn.Sequential(Mergeable("fuse", merge)), (1, 3, 16, 16))


@pytest.mark.parametrize(
    ("method", "merge"),
    [
        ("fuse", lambda self, x: x),
        ("fuse", lambda self: torch.ones(1)),
        ("fuse", lambda self: (_ for _ in ()).throw(NotImplementedError)),
        ("merge", in_place),
    ],
)
def test_methods_that_merge_nothing_are_left_alone(method, merge):
    deployed = same_or_refused(nn.Sequential(Mergeable(method, merge)))
    assert isinstance(deployed[0], Mergeable)
    assert isinstance(deployed[0].norm, nn.Identity)


def shallow(name: str) -> nn.Module:
    """Return a network of timm with one or two blocks of its own kind in each stage."""
    timm = pytest.importorskip("timm")
    cfg = timm.models.byobnet.model_cfgs.get(name)
    options = {"fastvit_t8": {"layers": (1, 1, 1, 1)}, "repvit_m0_9": {"depth": (1, 1, 2, 1)}}.get(name, {})
    if cfg is not None:
        both = (stage[:4] if isinstance(stage, list) else replace(stage, d=min(stage.d, 2)) for stage in cfg.blocks)
        options = {"blocks": tuple(both)}
    return timm.create_model(name, num_classes=5, **options)


@pytest.mark.parametrize("name", ["repvgg_a0", "mobileone_s0", "fastvit_t8", "repvit_m0_9", "repghostnet_050"])
def test_timms_reparametrised_networks_are_merged(name):
    model, side = with_statistics_if_any(shallow(name)).eval(), 32
    deployed = deploy(model, (1, 3, side, side))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed.modules())
    assert sum(p.numel() for p in deployed.parameters()) < sum(p.numel() for p in model.parameters())
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected = model(x)
        torch.testing.assert_close(deployed(x), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize(
    "call",
    [
        lambda: scsc_lab.deploy(5),
        lambda: scsc_lab.transplant(None),
        lambda: scsc_lab.build(5),
        lambda: scsc_lab.count(None),
        lambda: scsc_lab.compare([]),
        lambda: scsc_lab.compare([torch.nn.Sequential(torch.nn.ReLU(), torch.nn.ReLU())]),
        lambda: scsc_lab.erf("resnet18", samples="x"),
        lambda: scsc_lab.latency("resnet18", baseline="x"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
