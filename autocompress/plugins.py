"""The registry: what the installed plugins offer, by name. Core knows no plugin by its name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from autocompress import hookspecs
from autocompress.errors import PluginError
from autocompress.matching import near_misses, unknown

if TYPE_CHECKING:
    from autocompress.evaluator import Evaluator
    from autocompress.objective import Objective
    from autocompress.runtime import Runtime
    from autocompress.technique import Technique

GROUP = "autocompress"
PREFIX = "autocompress_"
T = TypeVar("T")


@dataclass(frozen=True)
class Registry:
    """Everything that plugins offer, sorted by name; ``origin`` maps ``kind:name`` to its distribution."""

    manager: pluggy.PluginManager
    techniques: Mapping[str, Technique]
    runtimes: Mapping[str, Runtime]
    evaluators: Mapping[str, Evaluator]
    objectives: Mapping[str, Objective]
    samplers: Mapping[str, Callable[[int, int], Any]]
    search_spaces: Mapping[str, Path]
    origin: Mapping[str, str]

    def technique(self, name: str) -> Technique:
        """The technique of that name. Raises PluginError with near misses."""
        return _lookup("technique", name, self.techniques)

    def runtime(self, name: str) -> Runtime:
        """The runtime of that name. Raises PluginError with near misses."""
        return _lookup("runtime", name, self.runtimes)

    def evaluator(self, name: str) -> Evaluator:
        """The evaluator of that name. Raises PluginError with near misses."""
        return _lookup("evaluator", name, self.evaluators)


def load_registry(extra: Iterable[object] = ()) -> Registry:
    """Load every entry point of the group ``autocompress``, and ``extra`` plugin objects or modules.

    Raises PluginError when a plugin fails to import, misspells a hook, or takes a name that is taken.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    distributions: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        distributions[entry.name] = entry.dist.name if entry.dist else entry.value
        _register(manager, _load(entry), entry.name, distributions)
    for plugin in extra:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        distributions.setdefault(name, name)
        _register(manager, plugin, name, distributions)
    offers = _Offers(manager, distributions)
    return Registry(
        manager=manager,
        techniques=offers.named("techniques"),
        runtimes=offers.named("runtimes"),
        evaluators=offers.named("evaluators"),
        objectives=offers.named("objectives"),
        samplers=offers.named("samplers"),
        search_spaces=offers.named("search_spaces"),
        origin=offers.origin,
    )


def missing(requires: Iterable[str]) -> str:
    """The ``pip install`` line for required libraries that are not importable, or ""."""
    absent = [name for name in requires if importlib.util.find_spec(name.replace("-", "_")) is None]
    return f"pip install {' '.join(absent)}" if absent else ""


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except Exception as error:  # a stranger's module may raise anything at import
        distribution = entry.dist.name if entry.dist else entry.value
        raise PluginError(
            f"plugin {entry.name!r} of distribution {distribution!r} fails to import "
            f"({type(error).__name__}: {error}); mend it or run: pip uninstall {distribution}"
        ) from error


def _register(manager: pluggy.PluginManager, plugin: object, name: str, distributions: Mapping[str, str]) -> None:
    try:
        manager.register(plugin, name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {name!r} of {distributions[name]!r}: {_hint(error)}") from error
    except ValueError as error:
        raise PluginError(f"two plugins register the name {name!r}; uninstall one of them ({error}).") from error


def _hint(error: pluggy.PluginValidationError) -> str:
    """Pluggy's message on one line, and the hook that was probably meant."""
    message = " ".join(str(error).split())
    known = [name for name in vars(hookspecs) if name.startswith(PREFIX)]
    misspelt = next((word.strip("'") for word in message.split() if word.strip("'").startswith(PREFIX)), "")
    close = near_misses(misspelt, known, limit=1) if misspelt and misspelt not in known else []
    return message + (f". Did you mean {close[0]!r}?" if close else "")


@dataclass
class _Offers:
    """Collects what the plugins offer; a name that is taken is an error that names both distributions."""

    manager: pluggy.PluginManager
    distributions: Mapping[str, str]
    origin: dict[str, str] = field(default_factory=dict)

    def named(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for implementation in getattr(self.manager.hook, PREFIX + kind).get_hookimpls():
            source = self.distributions[implementation.plugin_name]
            for name, item in _pairs(implementation.function()):
                if name in found:
                    taken = self.origin[f"{kind}:{name}"]
                    raise PluginError(
                        f"{kind}: the name {name!r} is registered twice, by {taken!r} and by {source!r}; "
                        "uninstall one of them."
                    )
                found[name] = item
                self.origin[f"{kind}:{name}"] = source
        return dict(sorted(found.items()))


def _pairs(items: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(items, Mapping):
        yield from items.items()
        return
    for item in items:
        yield (item.stem if isinstance(item, Path) else item.name), item


def _lookup(what: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        raise PluginError(unknown(what, name, known))
    return known[name]
