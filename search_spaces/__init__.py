"""The search spaces that come with autocompress, as TOML files; registered like anybody else's."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from autocompress.plugin.hooks import hookimpl


@hookimpl
def autocompress_search_spaces() -> Iterable[Path]:
    return sorted(Path(__file__).parent.glob("*.toml"))
