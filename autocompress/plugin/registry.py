"""The registry: what the installed plugins offer, by name. Core knows no plugin by its name."""

from __future__ import annotations

import importlib.util
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from autocompress.basics.matching import near_misses, unknown
from autocompress.basics.patience import LEAST, ended_after
from autocompress.errors import PluginError
from autocompress.plugin import hooks as hookspecs

if TYPE_CHECKING:
    from autocompress.contracts.evaluator import Evaluator
    from autocompress.contracts.model import LoadedModel
    from autocompress.contracts.runtime import Runtime
    from autocompress.contracts.technique import Technique
    from autocompress.core.objective import Objective
    from autocompress.core.trial import Trial

GROUP = "autocompress"
PREFIX = "autocompress_"
KINDS = ("techniques", "runtimes", "evaluators", "objectives", "samplers", "search_spaces")
T = TypeVar("T")


@dataclass(frozen=True)
class Registry:
    """Everything that plugins offer, sorted by name; each kind is asked for when it is first used.

    distributions   plugin name to the distribution that it came from, or to its own name when it was passed in.
    installed       those that came from an entry point: the ones that pip knows.
    Each kind raises PluginError when a plugin fails to say what it offers, or takes a name that is taken.
    """

    manager: pluggy.PluginManager
    distributions: Mapping[str, str]
    installed: frozenset[str]
    _known: dict[str, dict[str, tuple[Any, str]]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def techniques(self) -> Mapping[str, Technique]:
        return self._offers("techniques")

    @cached_property
    def runtimes(self) -> Mapping[str, Runtime]:
        return self._offers("runtimes")

    @cached_property
    def evaluators(self) -> Mapping[str, Evaluator]:
        return self._offers("evaluators")

    @cached_property
    def objectives(self) -> Mapping[str, Objective]:
        return self._offers("objectives")

    @cached_property
    def samplers(self) -> Mapping[str, Callable[[int, int], Any]]:
        return self._offers("samplers")

    @cached_property
    def search_spaces(self) -> Mapping[str, Path]:
        return self._offers("search_spaces")

    @cached_property
    def origin(self) -> Mapping[str, str]:
        """``kind:name`` to the distribution that offers it."""
        return _Origins(self)

    def technique(self, name: str) -> Technique:
        """The technique of that name. Raises PluginError with near misses."""
        return _lookup("technique", name, self.techniques)

    def runtime(self, name: str) -> Runtime:
        """The runtime of that name. Raises PluginError with near misses."""
        return _lookup("runtime", name, self.runtimes)

    def evaluator(self, name: str) -> Evaluator:
        """The evaluator of that name. Raises PluginError with near misses."""
        return _lookup("evaluator", name, self.evaluators)

    def distribution(self, kind: str, name: str) -> str:
        """What pip calls the distribution that offers a name, or "" when it is unknown or was passed in from Python."""
        found = self.origin.get(f"{kind}:{name}", "")
        return found if found in self.installed else ""

    def load_model(self, **given: Any) -> tuple[LoadedModel | None, str]:
        """What the first plugin that knows ``source`` loads, and that plugin's distribution; (None, "") when none does.

        Raises PluginError when a plugin answers with something else than a `LoadedModel`.
        """
        from autocompress.contracts.model import LoadedModel

        for implementation in self._implementations("load_model"):
            found = _call(implementation, given)
            if found is None:
                continue
            source = self.distributions[implementation.plugin_name]
            if not isinstance(found, LoadedModel):
                raise PluginError(
                    f"plugin {implementation.plugin_name!r} of {source!r} loads {given['source']!r} as a "
                    f"{type(found).__name__}: expected a LoadedModel or None."
                )
            return found, source if source in self.installed else ""
        return None, ""

    def tell_trial(self, trial: Trial) -> dict[str, str]:
        """Tell every listener of a finished trial; plugin name to what went wrong there, in words."""
        failed: dict[str, str] = {}
        for implementation in self._implementations("trial_finished"):
            try:
                with ended_after(LEAST, f"{PREFIX}trial_finished"):
                    _call(implementation, {"trial": trial})
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code may raise anything
                failed[implementation.plugin_name] = self._words(implementation, "trial_finished", error)
        return failed

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """In the order in which they are called."""
        return list(reversed(getattr(self.manager.hook, PREFIX + hook).get_hookimpls()))

    def _offers(self, kind: str) -> dict[str, Any]:
        return {name: item for name, (item, _) in sorted(self._sourced(kind).items())}

    def _sourced(self, kind: str) -> dict[str, tuple[Any, str]]:
        """Name to what is offered under it, and the distribution that offers it."""
        if kind not in self._known:
            self._known[kind] = self._collect(kind)
        return self._known[kind]

    def _collect(self, kind: str) -> dict[str, tuple[Any, str]]:
        found: dict[str, tuple[Any, str]] = {}
        for implementation in reversed(self._implementations(kind)):
            source = self.distributions[implementation.plugin_name]
            try:
                pairs = list(_pairs(_call(implementation, {})))
            except PluginError:
                raise
            except (Exception, SystemExit) as error:  # a stranger's module may raise anything while it is imported
                remedy = f"mend it or run: pip uninstall {source}" if source in self.installed else "mend it"
                raise PluginError(f"{self._words(implementation, kind, error)}; {remedy}") from error
            for name, item in pairs:
                if name in found:
                    raise PluginError(
                        f"{kind}: the name {name!r} is registered twice, by {found[name][1]!r} and by {source!r}; "
                        "uninstall one of them."
                    )
                found[name] = (item, source)
        return found

    def _words(self, implementation: pluggy.HookImpl, hook: str, error: BaseException) -> str:
        source = self.distributions[implementation.plugin_name]
        return (
            f"plugin {implementation.plugin_name!r} of distribution {source!r} fails in {PREFIX}{hook} "
            f"({type(error).__name__}: {error}{_place(error)})"
        )


class _Origins(Mapping[str, str]):
    """``kind:name`` to distribution; looks only at the kinds that it is asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getitem__(self, key: str) -> str:
        kind, _, name = key.partition(":")
        if kind not in KINDS:
            raise KeyError(key)
        return self._registry._sourced(kind)[name][1]

    def __iter__(self) -> Iterator[str]:
        return (f"{kind}:{name}" for kind in KINDS for name in self._registry._sourced(kind))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load_registry(extra: Iterable[object] = ()) -> Registry:
    """Load every entry point of the group ``autocompress``, and ``extra`` plugin objects or modules.

    Raises PluginError when a plugin fails to import or misspells a hook.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    distributions: dict[str, str] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda found: found.name):
        distributions[entry.name] = entry.dist.name if entry.dist else entry.value
        _register(manager, _load(entry), entry.name, distributions)
    installed = frozenset(distributions.values())
    for plugin in extra:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        distributions.setdefault(name, name)
        _register(manager, plugin, name, distributions)
    return Registry(manager, distributions, installed)


def at_fault(error: BaseException) -> tuple[str, str] | None:
    """The plugin in whose code an error arose, and its distribution; None when it arose in core's own.

    What was called last decides, libraries aside: a plugin that hands torch a wrong tensor is at fault, torch is not.
    """
    entries = {entry.module.partition(".")[0]: entry for entry in entry_points(group=GROUP)}
    core = __name__.partition(".")[0]
    trace, at = error.__traceback__, None
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == core or package in entries:
            at = package
        trace = trace.tb_next
    if at is None or at == core:
        return None
    entry = entries[at]
    source = entry.dist.name if entry.dist else entry.value
    return None if source == core else (entry.name, source)


@contextmanager
def nobody_leaves() -> Iterator[None]:
    """A plugin that calls sys.exit inside the block does not end the user's program: it is a PluginError."""
    try:
        yield
    except SystemExit as stop:
        blamed = at_fault(stop)
        whose = "a library" if blamed is None else f"plugin {blamed[0]!r} of distribution {blamed[1]!r}"
        what = f"called sys.exit({stop.code!r}){_place(stop)}"
        raise PluginError(f"{whose} {what}; a plugin must raise instead.") from stop


def missing(requires: Iterable[str]) -> str:
    """The ``pip install`` line for required libraries that are not importable, or ""."""
    absent = [name for name in requires if importlib.util.find_spec(name.replace("-", "_")) is None]
    return f"pip install {' '.join(absent)}" if absent else ""


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # a stranger's module may raise anything at import
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


def _call(implementation: pluggy.HookImpl, given: Mapping[str, Any]) -> Any:
    """Call one plugin's hook with those of the arguments that it names."""
    return implementation.function(*(given[name] for name in implementation.argnames))


def _place(error: BaseException) -> str:
    """Where an error arose: file and line of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    return f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""


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
