"""A policy in a few words: ``34 x int8, 6 x ffn-neurons keep 0.75, 2 x cast dtype bf16``."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from autocompress.core.domain import Value
from autocompress.core.policy import Policy, Step

FEW = 2
"""Up to so many ways of one technique are counted one by one; more become a range."""


def policy_words(policy: Policy | None) -> str:
    """How many layers take which technique, with which values; ``dense`` when nothing is changed.

    >>> from autocompress.core.policy import LayerPolicy
    >>> policy_words(Policy({"a": LayerPolicy((Step("int8"),)), "b": LayerPolicy((Step("int8"),))}))
    '2 x int8'
    """
    steps = [step for layer in policy.layers.values() for step in layer.steps] if policy is not None else []
    if not steps:
        return "dense"
    by_technique: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        by_technique[step.technique].append(step)
    groups = sorted(by_technique.items(), key=lambda item: (-len(item[1]), item[0]))
    return ", ".join(words for name, group in groups for words in _technique(name, group))


def _technique(name: str, steps: list[Step]) -> list[str]:
    ways = Counter(tuple(sorted(step.params.items())) for step in steps)
    if len(ways) <= FEW:
        ordered = sorted(ways.items(), key=lambda item: (-item[1], str(item[0])))
        return [f"{count} x {' '.join([name, *_pairs(way)])}" for way, count in ordered]
    keys = sorted({key for way in ways for key, _ in way})
    spans = [f"{key} {_span([dict(way)[key] for way in ways if key in dict(way)])}" for key in keys]
    return [f"{len(steps)} x {' '.join([name, *spans])}"]


def _pairs(way: Iterable[tuple[str, Value]]) -> list[str]:
    return [f"{key} {_show(value)}" for key, value in way]


def _span(values: list[Value]) -> str:
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1:
        return _show(distinct[0])
    if all(isinstance(value, int | float) for value in distinct):
        numbers = sorted(float(value) for value in distinct)
        return f"{_show(numbers[0])}-{_show(numbers[-1])}"
    return "/".join(sorted(map(_show, distinct)))


def _show(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
