"""The one table of all networks: name, spec, native input, aliases, source and published accuracy. No torch."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks.specs import RELEASED_KERNELS, NetworkSpec, ResNetSpec, SCSCSpec, SwinSpec


@dataclass(frozen=True)
class Published:
    """ImageNet-1k top-1 accuracy (percent) as its authors print it; nothing here is measured by this project."""

    top1: float
    source: str


@dataclass(frozen=True)
class Entry:
    """One network of the catalog.

    Attributes:
        name: canonical name.
        family: ``resnet``, ``swin`` or ``faceresnet``.
        spec: the architecture.
        resolution: native input height and width, in pixels.
        aliases: other names, in canonical spelling (lower case, underscores).
        source: where the architecture is described.
        published: accuracy the authors print, if any.
        inferred: what neither paper nor code states and was inferred, if anything.
        mean, std: input normalisation of each channel, for pixels from 0 to 1.
    """

    name: str
    family: str
    spec: NetworkSpec
    source: str
    resolution: tuple[int, int] = (224, 224)
    aliases: tuple[str, ...] = ()
    published: Published | None = None
    inferred: str = ""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


SMALLEST_SIDE = 32
"""Smallest input side, in pixels, that every network of the catalog takes: their total stride."""

_FACE_SCALES = ((3, 9, 13), (3, 7, 11), (3, 5), (3, 5))
_SWIN_FORM = tuple(SCSCSpec(kernels=kernels) for kernels in RELEASED_KERNELS)
_RESNET_FORM = tuple(SCSCSpec(kernels=kernels, activation=True) for kernels in RELEASED_KERNELS)
_FACE_FORM = tuple(SCSCSpec(kernels=kernels, activation=True) for kernels in _FACE_SCALES)
_ALL_STAGES = (1, 2, 3, 4)

_RESNET = "He et al., arXiv 1512.03385; stride on the 3×3 convolution, as torchvision has it"
_SWIN = "Liu et al., arXiv 2103.14030"
_SCSC = "Wang et al., arXiv 2308.07110; released code megvii-research/SCSC"
_FACE = "Ding et al., arXiv 2105.01883, section 4.3"
_TORCHVISION = "torchvision, IMAGENET1K_V1 weights"
_SWIN_TABLE = "arXiv 2103.14030, table 1 (ImageNet-1k, 224×224)"
_FACE_HEAD = "the head (global average pool, Linear 1024 → 512 without bias)"


def _resnet(
    name: str, depths: tuple[int, ...], top1: float, *, basic: bool = False, aliases: tuple[str, ...] = ()
) -> Entry:
    expansion = 1 if basic else 4
    spec = ResNetSpec(
        depths=depths,
        widths=tuple(expansion * width for width in (64, 128, 256, 512)),
        block="basic" if basic else "bottleneck",
        scsc=_RESNET_FORM,
    )
    published = Published(top1, _TORCHVISION)
    return Entry(name, "resnet", spec, _RESNET, aliases=aliases, published=published)


def _scsc_resnet(name: str, depths: tuple[int, ...], aliases: tuple[str, ...]) -> Entry:
    spec = ResNetSpec(
        depths=depths,
        widths=(288, 576, 1152, 1536),
        bottleneck_widths=(72, 144, 288, 384),
        strides=(2, 2, 2, 2),
        stem="conv3",
        stem_width=96,
        scsc=_RESNET_FORM,
        scsc_stages=_ALL_STAGES,
    )
    return Entry(name, "resnet", spec, _SCSC, aliases=aliases)


def _swin(
    size: str, embed_dim: int, depths: tuple[int, ...], heads: tuple[int, ...], drop_path: float, top1: float
) -> tuple[Entry, Entry]:
    baseline = SwinSpec(embed_dim, depths, heads, drop_path=drop_path, scsc=_SWIN_FORM)
    scsc = SwinSpec(embed_dim, depths, heads, drop_path=0.1, scsc=_SWIN_FORM, scsc_stages=_ALL_STAGES)
    letter = size[0]
    first = size == "tiny"
    return (
        Entry(
            f"swin_{size}",
            "swin",
            baseline,
            _SWIN,
            aliases=(f"swin_{letter}", f"swin_{size}_patch4_window7_224", *(("swin",) if first else ())),
            published=Published(top1, _SWIN_TABLE),
        ),
        Entry(
            f"scsc_swin_{size}",
            "swin",
            scsc,
            _SCSC,
            aliases=(f"scsc_swin_{letter}", *(("scsc_swin",) if first else ())),
        ),
    )


_FACERESNET = ResNetSpec(
    depths=(3, 2, 2, 2),
    widths=(128, 256, 512, 1024),
    bottleneck_widths=(128, 256, 512, 1024),
    outputs=512,
    head_bias=False,
    scsc=_FACE_FORM,
    scsc_replaces="spatial",
)
_SCSC_FACERESNET = ResNetSpec(
    depths=(3, 2, 2, 2),
    widths=(128, 256, 512, 1024),
    bottleneck_widths=(128, 256, 512, 1024),
    strides=(2, 2, 2, 2),
    stem="conv3",
    stem_width=128,
    outputs=512,
    head_bias=False,
    scsc=_FACE_FORM,
    scsc_stages=_ALL_STAGES,
    scsc_replaces="spatial",
)

PICO_RULE = (
    "every width a quarter, window 4, heads 1 2 4 8, no stochastic depth, linear layers drawn by their inputs, input "
    "64×64, 20 outputs (faces: an embedding of 128); depths as in full size, but that the SCSC form of the ResNets has "
    "fewer blocks, so that both changes of a pair, in parameters and in MACs, stay within about 5 points of the "
    "full-size pair's"
)


def _quarter(widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(width // 4 for width in widths)


def _pico_resnet(name: str, full: Entry, depths: tuple[int, ...] | None = None) -> Entry:
    assert isinstance(full.spec, ResNetSpec)
    spec = replace(
        full.spec,
        depths=depths or full.spec.depths,
        widths=_quarter(full.spec.widths),
        bottleneck_widths=_quarter(full.spec.bottleneck_widths),
        stem_width=full.spec.stem_width // 4,
        outputs=128 if full.family == "faceresnet" else 20,
    )
    return _pico(name, full, spec)


def _pico_swin(name: str, full: Entry) -> Entry:
    assert isinstance(full.spec, SwinSpec)
    spec = replace(
        full.spec,
        embed_dim=full.spec.embed_dim // 4,
        heads=(1, 2, 4, 8),
        window=4,
        drop_path=0.0,
        outputs=20,
        init_std=0.0,
    )
    return _pico(name, full, spec)


def _pico(name: str, full: Entry, spec: NetworkSpec) -> Entry:
    source = f"{full.source}; scaled down for training on a CPU: {PICO_RULE}"
    return Entry(name, full.family, spec, source, resolution=(64, 64), inferred=full.inferred)


_SWINS = (
    _swin("tiny", 96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2, 81.3),
    _swin("small", 96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3, 83.0),
    _swin("base", 128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5, 83.5),
)

_ENTRIES = (
    _resnet("resnet18", (2, 2, 2, 2), 69.758, basic=True),
    _resnet("resnet34", (3, 4, 6, 3), 73.314, basic=True),
    _resnet("resnet50", (3, 4, 6, 3), 76.130, aliases=("resnet",)),
    _resnet("resnet101", (3, 4, 23, 3), 77.374),
    _resnet("resnet152", (3, 8, 36, 3), 78.312),
    _scsc_resnet("scsc_resnet50", (3, 5, 12, 3), ("scsc_resnet", "cbtnet50")),
    _scsc_resnet("scsc_resnet101", (3, 4, 23, 3), ("cbtnet101",)),
    _scsc_resnet("scsc_resnet152", (3, 8, 36, 3), ("cbtnet152",)),
    *(baseline for baseline, _ in _SWINS),
    *(scsc for _, scsc in _SWINS),
    Entry(
        "faceresnet",
        "faceresnet",
        _FACERESNET,
        _FACE,
        resolution=(96, 96),
        inferred=_FACE_HEAD,
    ),
    Entry(
        "scsc_faceresnet",
        "faceresnet",
        _SCSC_FACERESNET,
        _SCSC,
        resolution=(96, 96),
        inferred="the whole network: neither text nor code is public; SCSC stands for the 3×3 and the closing 1×1 "
        "convolutions, with the released SCSC-ResNet's stem and strides, kernels (3,9,13) (3,7,11) (3,5) (3,5); "
        f"{_FACE_HEAD}",
    ),
)

_FULL = {entry.name: entry for entry in _ENTRIES}
_PICOS = (
    _pico_swin("swin_pico", _FULL["swin_tiny"]),
    _pico_swin("scsc_swin_pico", _FULL["scsc_swin_tiny"]),
    _pico_resnet("resnet_pico", _FULL["resnet50"]),
    _pico_resnet("scsc_resnet_pico", _FULL["scsc_resnet50"], depths=(3, 4, 8, 3)),
    _pico_resnet("faceresnet_pico", _FULL["faceresnet"]),
    _pico_resnet("scsc_faceresnet_pico", _FULL["scsc_faceresnet"], depths=(2, 1, 2, 2)),
)

CATALOG: Mapping[str, Entry] = {entry.name: entry for entry in (*_ENTRIES, *_PICOS)}
"""Every network by its canonical name, in the order in which they are listed."""

PACKAGES = ("timm", "torchvision")
"""Packages whose networks are measured under ``PACKAGE:NAME``."""

_NAMES = {name: entry for entry in CATALOG.values() for name in (entry.name, *entry.aliases)}
_BARE_NAMES = {name.replace("_", ""): entry for name, entry in _NAMES.items()}


def find(name: str) -> Entry:
    """Return the entry of a name or alias; case, ``-`` and ``_`` do not matter, nor does timm's ``.tag``.

    Raises:
        InputError: if there is no such network; the message has the nearest names.
    """
    spelled = name.strip().lower().replace("-", "_")
    entry = _BARE_NAMES.get(spelled.partition(".")[0].replace("_", ""))
    if entry is None:
        hint = nearest(spelled, _NAMES) or "; `scsc-lab models` lists them"
        if spelled.endswith(".py"):
            hint = f"; a file's network is named with its factory, {name.strip()}:make_model"
        elif elsewhere := [f"{package}:{spelled}" for package in PACKAGES if spelled in registered(package)]:
            hint = f"; did you mean {' or '.join(elsewhere)}?"
        raise InputError(f"unknown model {name!r}{hint}")
    return entry


@functools.lru_cache(maxsize=len(PACKAGES))
def registered(package: str) -> frozenset[str]:
    """Return the names of a package's networks, read from its sources without importing it; none if not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return frozenset()
    names: set[str] = set()
    for file in (Path(spec.origin).parent / "models").rglob("*.py"):
        text = file.read_text(encoding="utf-8", errors="ignore")
        names.update(re.findall(r"^@register_model\b[^\n]*\n(?:@[^\n]*\n)*def (\w+)\(", text, re.MULTILINE))
    return frozenset(names)


def is_external(name: str) -> bool:
    """Return whether a name is one of a network outside the catalog, as ``timm:convnext_tiny`` or ``model.onnx``."""
    return ":" in name.partition("[")[0] or is_onnx(name)


def is_onnx(name: str) -> bool:
    """Return whether a name is that of an ONNX file."""
    return name.strip().lower().endswith(".onnx")


def list_models(family: str | None = None) -> list[str]:
    """Return the names of the catalog's networks, or of one family: ``resnet``, ``swin`` or ``faceresnet``.

    Raises:
        InputError: if there is no such family.
    """
    families = dict.fromkeys(entry.family for entry in CATALOG.values())
    if family is not None and family not in families:
        raise InputError(f"unknown family {family!r}: one of {', '.join(families)}{nearest(family, families)}")
    return [name for name, entry in CATALOG.items() if family in (None, entry.family)]
