"""Structured pruning of feed-forward neurons and attention heads, with least-squares reconstruction."""

from __future__ import annotations

from collections.abc import Iterable

from autocompress.plugin import Technique, hookimpl


@hookimpl
def autocompress_techniques() -> Iterable[Technique]:
    from autocompress_pruning.heads import AttentionHeads
    from autocompress_pruning.neurons import FfnNeurons

    return [FfnNeurons(), AttentionHeads()]
