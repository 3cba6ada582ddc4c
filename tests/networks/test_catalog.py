"""The catalog: names, aliases, and the exact size of every network in it."""

from __future__ import annotations

import pytest
from conftest import expected

from scsc_lab import InputError
from scsc_lab.counting.count import count
from scsc_lab.models import construct
from scsc_lab.networks import catalog


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("resnet", "resnet50"),
        ("swin", "swin_tiny"),
        ("scsc_resnet", "scsc_resnet50"),
        ("scsc_swin", "scsc_swin_tiny"),
        ("swin_t", "swin_tiny"),
        ("swin_s", "swin_small"),
        ("SWIN-B", "swin_base"),
        ("swin_base_patch4_window7_224.ms_in1k", "swin_base"),
        (" Scsc-Swin-Tiny ", "scsc_swin_tiny"),
    ],
)
def test_aliases_case_and_hyphens(alias, name):
    assert catalog.find(alias).name == name


def test_names_and_aliases_are_unique():
    names = [name for entry in catalog.CATALOG.values() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", r"unknown model 'resnet5'; did you mean resnet50"),
        ("zzzzzz", "scsc-lab models"),
        ("convnext_tiny", r"unknown model 'convnext_tiny'; did you mean timm:convnext_tiny or "),
    ],
)
def test_an_unknown_name_has_its_nearest(name, message):
    if name == "convnext_tiny":
        pytest.importorskip("timm")
    with pytest.raises(InputError, match=message):
        catalog.find(name)


@pytest.mark.parametrize("row", expected(), ids=lambda row: f"{row['model']}@{row['resolution']}")
def test_exact_size(row):
    side = int(row["resolution"])
    counted = count(construct.empty(catalog.find(row["model"]).spec), (1, 3, side, side))
    assert counted.status == "complete"
    assert (counted.params, counted.macs) == (int(row["params"]), int(row["macs"]))
    if row["fvcore_activations"]:
        assert counted.activations == int(row["fvcore_activations"])


def test_expected_covers_the_catalog():
    assert {row["model"] for row in expected()} == set(catalog.CATALOG)


PICO_PAIRS = [
    ("swin_pico", "scsc_swin_pico", "swin_tiny", "scsc_swin_tiny"),
    ("resnet_pico", "scsc_resnet_pico", "resnet50", "scsc_resnet50"),
    ("faceresnet_pico", "scsc_faceresnet_pico", "faceresnet", "scsc_faceresnet"),
]


@pytest.mark.parametrize(("name", "full"), [pair[i::2] for pair in PICO_PAIRS for i in (0, 1)])
def test_a_pico_network_has_a_quarter_of_every_width_and_takes_64_pixels(name, full):
    pico, whole = catalog.find(name), catalog.find(full)
    assert [4 * width for width in pico.spec.widths] == list(whole.spec.widths)
    assert pico.resolution == (64, 64)
    assert pico.spec.scsc == whole.spec.scsc  # kernels, groups and all
    assert "every width a quarter" in pico.source
    if "scsc_" not in name or "swin" in name:
        assert pico.spec.depths == whole.spec.depths


def _changes(baseline, other):
    """Return the changes in parameters and MACs, in percent, each network at its native input."""
    one, two = (
        count(construct.empty(entry.spec), (1, 3, *entry.resolution)) for entry in map(catalog.find, (baseline, other))
    )
    return 100 * (two.params / one.params - 1), 100 * (two.macs / one.macs - 1)


@pytest.mark.parametrize(("baseline", "other", "full_baseline", "full_other"), PICO_PAIRS)
def test_a_pico_pair_changes_as_the_full_size_pair_does(baseline, other, full_baseline, full_other):
    for pico, full in zip(_changes(baseline, other), _changes(full_baseline, full_other), strict=True):
        assert pico == pytest.approx(full, abs=5.05)


def test_every_network_of_timm_is_known_without_importing_it():
    timm = pytest.importorskip("timm")
    assert catalog.registered("timm") == set(timm.list_models())
