"""A space of settings to search: which values each key of a network may take. No torch."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_origin

from scsc_lab.errors import InputError, nearest
from scsc_lab.networks import mixers, overrides, values
from scsc_lab.networks.mixers import RULES
from scsc_lab.networks.network import Network
from scsc_lab.networks.specs import NetworkSpec

_RULE = "rule."
_MOST_VALUES = 10_000
_USUAL = {"groups": "1,2,4,8", "reduction": "0,0.25,0.5"}
_RANGE = re.compile(r"(-?[\d.]+?)\.\.(-?[\d.]+?)(?::([\d.]+))?")


@dataclass(frozen=True)
class Space:
    """Every combination of some settings of a network.

    Attributes:
        network: the network whose settings are changed.
        choices: the values of each key, as ``--set`` takes them; a key of a transplant's rules begins with ``rule.``.
    """

    network: Network
    choices: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each key."""
        return tuple(len(options) for _, options in self.choices)

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(self.sizes)

    def changes(self, picks: Sequence[int]) -> dict[str, str]:
        """Return what a combination changes: values by key, without those that the network has already.

        Args:
            picks: position of the value of each key, in order.
        """
        unchanged = self._unchanged
        return {
            key: options[pick]
            for (key, options), pick, is_unchanged in zip(self.choices, picks, unchanged, strict=True)
            if pick not in is_unchanged
        }

    def at(self, picks: Sequence[int]) -> Network:
        """Return the network of a combination.

        Raises:
            InputError: if it cannot be: its settings do not go together.
        """
        chosen = self.changes(picks)
        network = self.network.changed({key: value for key, value in chosen.items() if not key.startswith(_RULE)})
        rules: dict[str, object] = {
            key.removeprefix(_RULE): value for key, value in chosen.items() if key.startswith(_RULE)
        }
        if not rules:
            return network
        if network.transplant is not None:
            rules = {"mixer": network.transplant.mixer, **overrides.rules(network.transplant), **rules}
        mixer = str(rules.pop("mixer", "scsc"))
        return replace(network, transplant=overrides.transplants([mixer], _of_mixer(mixer, rules))[0])

    def written(self, picks: Sequence[int]) -> str:
        """Return the options that make a combination: ``--set groups=8 --rule mixer=focal``; empty for no change."""
        parts = []
        for key, value in self.changes(picks).items():
            rule = key.startswith(_RULE)
            parts.append(f"{'--rule' if rule else '--set'} {key.removeprefix(_RULE)}={value}")
        return " ".join(parts)

    @functools.cached_property
    def _unchanged(self) -> tuple[frozenset[int], ...]:
        """Positions of the values that the network has already, for each key."""
        spec, keys = self.network.spec, {key for key, _ in self.choices}

        def is_unchanged(key: str, option: str) -> bool:
            for_all_stages = key.rpartition(".")[2] in keys - {key}
            return spec is not None and not key.startswith(_RULE) and not for_all_stages and _is_same(spec, key, option)

        return tuple(
            frozenset(at for at, option in enumerate(options) if is_unchanged(key, option))
            for key, options in self.choices
        )


def parse(network: Network, texts: Sequence[str]) -> Space:
    """Return the space that texts describe.

    Args:
        network: the network.
        texts: keys with commas between, each with its usual values (``kernels,groups``); or one key with its values:
            ``groups=1,2,4``, ``kernels=3,5;3,7,11`` where a value has commas itself, ``embed_dim=64..128:8``.

    Raises:
        InputError: if a key or a value does not exist, a key has no usual values, or there is nothing to choose.
    """
    choices: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, equals, listed = (part.strip() for part in text.partition("="))
        added = {key: _listed(network, key, listed)} if equals else _default_values(network, text)
        for name, options in added.items():
            if name in choices:
                raise InputError(f"--space {name} is given twice")
            choices[name] = options
    if not choices:
        raise InputError("no --space to search: name keys, e.g. --space kernels,groups")
    space = Space(network, tuple(choices.items()))
    _check_rules(space)
    return space


def _default_values(network: Network, text: str) -> dict[str, tuple[str, ...]]:
    """Return the usual values of keys with commas between."""
    choices: dict[str, tuple[str, ...]] = {}
    for key in filter(None, (part.strip() for part in text.split(","))):
        spec, kind = network.spec, _kind(network, key)
        if key == "kernels" and spec is not None:
            for stage in sorted(spec.scsc_stages):
                kernels = spec.scsc[stage - 1].kernels
                subsets = itertools.chain.from_iterable(
                    itertools.combinations(kernels, size) for size in range(1, len(kernels) + 1)
                )
                choices[f"stage{stage}.kernels"] = tuple(map(values.as_text, subsets))
        elif key == "depths" and spec is not None:
            deepest = max(spec.depths)
            at = spec.depths.index(deepest)
            depths = range(-(-deepest // 2), deepest + deepest // 2 + 1)
            choices[key] = tuple(values.as_text((*spec.depths[:at], depth, *spec.depths[at + 1 :])) for depth in depths)
        elif key == f"{_RULE}mixer":
            choices[key] = tuple(mixers.names())
        elif kind is bool:
            choices[key] = ("false", "true")
        elif key.rpartition(".")[2] in _USUAL:
            choices[key] = _listed(network, key, _USUAL[key.rpartition(".")[2]])
        else:
            raise InputError(f"{key} has no usual values: give some, e.g. --space '{key}={_example(kind)}'")
    return choices


def _listed(network: Network, key: str, text: str) -> tuple[str, ...]:
    """Return the values of a key, each typed and written as ``--set`` takes it."""
    kind = _kind(network, key)
    is_tuple = get_origin(kind) is tuple
    parts = text.split(";") if is_tuple or ";" in text else text.split(",")
    options = [option for part in parts for option in expanded(f"--space {key}", part.strip())]
    if kind is not object:
        options = [values.as_text(values.typed(key, option, kind)) for option in options]
    unique = tuple(dict.fromkeys(options))
    if len(unique) < 2:
        hint = f"; separate values with semicolons, e.g. {key}={_example(kind)}" if is_tuple else ""
        raise InputError(f"--space {key}={text}: one value leaves nothing to choose{hint}")
    return unique


def expanded(option: str, text: str) -> list[str]:
    """Return the numbers of a range, ``64..128:8``; any other text alone. ``option`` is what an error calls it."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return [text]
    try:
        is_integer = all("." not in part for part in match.groups() if part)
        first, last, step = (float(part) for part in (match[1], match[2], match[3] or "1"))
        count = math.floor((last - first) / step + 1e-9) + 1
    except (ValueError, ZeroDivisionError):
        count = 0
    if not 1 <= count <= _MOST_VALUES:
        raise InputError(f"{option}={text}: a range is FIRST..LAST:STEP, e.g. 64..128:8")
    numbers = [round(first + step * at, 10) for at in range(count)]
    return [str(int(number)) if is_integer else f"{number:.10g}" for number in numbers]


def _kind(network: Network, key: str) -> Any:
    """Return the type of a key's values; ``object`` where nothing says it.

    Raises:
        InputError: if the network has no such key.
    """
    if key.startswith(_RULE):
        name = key.removeprefix(_RULE)
        if name == "mixer":
            return str
        settings = [mixers.settings(mixer) or {} for mixer in mixers.names()]
        by_setting = {key: setting.kind for declared in settings for key, setting in declared.items()}
        kinds: dict[str, Any] = {**by_setting, **RULES}
        bare = name.rpartition(".")[2]
        if bare not in kinds:
            raise InputError(f"unknown key {key!r}{nearest(bare, kinds)} (rules: {', '.join(('mixer', *kinds))})")
        return kinds[bare]
    spec = network.spec
    return object if spec is None else overrides.kind(spec, key)


def _check_rules(space: Space) -> None:
    """Raise InputError if a mixer does not exist, or no mixer of the space has a rule."""
    keys = [key.removeprefix(_RULE) for key, _ in space.choices if key.startswith(_RULE)]
    if not keys:
        return
    mixer_name = space.network.transplant.mixer if space.network.transplant is not None else "scsc"
    chosen = [mixers.find(name) for name in dict(space.choices).get(f"{_RULE}mixer", (mixer_name,))]
    for key in keys:
        if key != "mixer" and not any(_of_mixer(mixer, {key: ""}) for mixer in chosen):
            raise InputError(f"--space {_RULE}{key}: none of {', '.join(map(mixers.label, chosen))} has it")


def _of_mixer(mixer: str, rules: dict[str, object]) -> dict[str, object]:
    """Return the rules that a mixer has: its own settings, and those of every transplant."""
    return {key: value for key, value in rules.items() if overrides.accepts(mixers.find(mixer), key)}


def _is_same(spec: NetworkSpec, key: str, option: str) -> bool:
    try:
        return overrides.apply(spec, {key: option}) == spec
    except InputError:
        return False


def _example(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "3,5;3,7,11"
    return "true,false" if kind is bool else "64..128:8" if kind in (int, float) else "a,b"
