"""What is saved loads: artifacts written whole, verified byte by byte, readable without code or pickle."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress.artifact.manifest import Manifest, Record, annotate, read_manifest
    from autocompress.artifact.reader import Artifact, load
    from autocompress.artifact.writer import save

_HOME = {
    "Artifact": "reader",
    "Manifest": "manifest",
    "Record": "manifest",
    "annotate": "manifest",
    "load": "reader",
    "read_manifest": "manifest",
    "save": "writer",
}
__all__ = [
    "Artifact",
    "Manifest",
    "Record",
    "annotate",
    "load",
    "read_manifest",
    "save",
]


def __getattr__(name: str) -> Any:
    # On demand, because `import autocompress` comes through here and must stay light.
    if name not in _HOME:
        raise AttributeError(f"module 'autocompress.artifact' has no attribute {name!r}")
    return getattr(import_module(f"autocompress.artifact.{_HOME[name]}"), name)
