"""The embedded demo model: all-MiniLM-L6-v2 and real English text, without a hub and without a download of our own."""

from __future__ import annotations

from autocompress.plugin import LoadedModel, hookimpl

SOURCE = "demo"


@hookimpl(tryfirst=True)
def autocompress_load_model(source: str, task: str | None) -> LoadedModel | None:
    """The demo model for the source ``demo``; a folder of that name is written ``./demo``."""
    if source != SOURCE:
        return None
    from autocompress_demo.minilm import load

    return load(source, task)
