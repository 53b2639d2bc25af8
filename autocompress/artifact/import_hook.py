"""Make ``AutoModel.from_pretrained`` know our artifacts, without importing Transformers ourselves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_MODULE = "transformers.quantizers.auto"


def install() -> None:
    """Register our loader with Transformers: now if its registry is imported already, else when it is. Idempotent."""
    module = sys.modules.get(_MODULE)
    if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
        _register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _register() -> None:
    # The module registers as its last line. When it is itself what imports Transformers' registry, it is half imported
    # now, and that line is still to come.
    import_module("autocompress.artifact.transformers_loader")


class _Finder(MetaPathFinder):
    """Answers for one module only, with the spec that the other finders give and a loader that registers after."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Finder):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Registering(spec.loader)
                return spec
        return None


class _Registering(Loader):
    """The module's own loader, and our registration right after it."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module keeps its own loader: tools that read sources or resources ask it.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        _register()
