"""What is saved loads: artifacts written whole, verified byte by byte, measured again in fresh processes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress.artifact.child import Session, run_session
    from autocompress.artifact.manifest import Manifest, Record, annotate, read_manifest
    from autocompress.artifact.reader import Artifact, load
    from autocompress.artifact.remeasure import BenchReport, bench
    from autocompress.artifact.writer import save

_HOME = {
    "Artifact": "reader",
    "BenchReport": "remeasure",
    "Manifest": "manifest",
    "Record": "manifest",
    "Session": "child",
    "annotate": "manifest",
    "bench": "remeasure",
    "load": "reader",
    "read_manifest": "manifest",
    "run_session": "child",
    "save": "writer",
}
__all__ = [
    "Artifact",
    "BenchReport",
    "Manifest",
    "Record",
    "Session",
    "annotate",
    "bench",
    "load",
    "read_manifest",
    "run_session",
    "save",
]


def __getattr__(name: str) -> Any:
    # On demand, because `import autocompress` comes through here and must stay light.
    if name not in _HOME:
        raise AttributeError(f"module 'autocompress.artifact' has no attribute {name!r}")
    return getattr(import_module(f"autocompress.artifact.{_HOME[name]}"), name)
