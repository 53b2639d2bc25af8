"""Real English prose that every Python carries: the language reference by topic, in ``pydoc_data.topics``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from autocompress.contracts.model import Texts
from autocompress.data.splits import split_texts

_SHORTEST, _LONGEST, _WORDS, _LETTERS = 80, 1200, 12, 0.85


def python_topics() -> Texts:
    """Paragraphs of prose, split so that no topic and no paragraph is in two splits; ``groups`` are the topics.

    A paragraph that several topics quote belongs to the one with the fewest paragraphs, which is the nearest to it.
    """
    from pydoc_data.topics import topics

    found = {topic: list(paragraphs(text)) for topic, text in topics.items()}
    owner: dict[str, str] = {}
    for topic in sorted(found, key=lambda name: (len(found[name]), name)):
        for paragraph in found[topic]:
            owner.setdefault(paragraph, topic)
    return split_texts(list(owner), list(owner.values()), source="Python's language reference (pydoc_data.topics)")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs that are prose: sentences of 80 to 1200 characters, no code, grammar or tables."""
    for block in re.split(r"\n\s*\n", text):
        line = " ".join(block.split()).removeprefix("* ")
        if "::=" in line or ">>>" in line or not _SHORTEST <= len(line) <= _LONGEST or len(line.split()) < _WORDS:
            continue
        letters = sum(character.isalpha() or character == " " for character in line)
        if line[0].isupper() and line.endswith((".", ":", ")", "!", "?", '"')) and letters >= _LETTERS * len(line):
            yield line
