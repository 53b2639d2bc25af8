"""`autocompress plugins`: everything that is installed, and what has a real kernel where."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autocompress.cli.console import print_json, stdout, stdout_reserved

if TYPE_CHECKING:
    from autocompress.plugin.registry import Registry

EXAMPLES = """Examples:

  autocompress plugins

  autocompress plugins --json"""


def add_to(app: typer.Typer) -> None:
    app.command("plugins", epilog=EXAMPLES)(plugins)


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
) -> None:
    """List techniques, runtimes, evaluators, samplers, objectives and spaces, and where each technique is real."""
    with stdout_reserved(as_json):
        from autocompress.plugin.registry import load_registry

        offers = describe(load_registry())
    if as_json:
        print_json(offers)
        return
    console = stdout()
    for kind, rows in offers.items():
        _print(console, kind, rows)


def describe(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """Every offer of every plugin as plain data, by kind."""
    from autocompress.cli.kernels import example_targets, offered
    from autocompress.core.objective import BUILTIN
    from autocompress.plugin.registry import missing

    targets = example_targets()
    techniques = [
        {
            "name": name,
            "about": _first_line(technique),
            "stage": technique.stage.name.lower(),
            "kinds": list(technique.kinds),
            "calibration": "needed" if technique.needs_calibration else "not needed",
            "unavailable": missing(technique.requires),
            "kernel": {where: offered(technique, target) for where, target in targets.items()},
            "references": list(technique.references),
            "from": registry.origin[f"techniques:{name}"],
        }
        for name, technique in registry.techniques.items()
    ]
    runtimes = [
        {
            "name": name,
            "about": _first_line(runtime),
            "unavailable": missing(runtime.requires),
            "from": registry.origin[f"runtimes:{name}"],
        }
        for name, runtime in registry.runtimes.items()
    ]
    evaluators = [
        {
            "name": name,
            "metric": evaluator.metric,
            "default for": list(evaluator.tasks),
            "from": registry.origin[f"evaluators:{name}"],
        }
        for name, evaluator in registry.evaluators.items()
    ]
    objectives = [
        {"name": item.name, "direction": item.direction, "unit": item.unit, "from": "autocompress"} for item in BUILTIN
    ] + [
        {"name": name, "direction": item.direction, "unit": item.unit, "from": registry.origin[f"objectives:{name}"]}
        for name, item in registry.objectives.items()
    ]
    return {
        "techniques": techniques,
        "runtimes": runtimes,
        "evaluators": evaluators,
        "objectives": objectives,
        "samplers": [{"name": name, "from": registry.origin[f"samplers:{name}"]} for name in registry.samplers],
        "spaces": [
            {"name": name, "file": str(path), "from": registry.origin[f"search_spaces:{name}"]}
            for name, path in registry.search_spaces.items()
        ],
    }


def _first_line(plugin: object) -> str:
    """What a plugin says of itself."""
    return (inspect.getdoc(type(plugin)) or "").partition("\n")[0]


def _print(console: Console, kind: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=kind, title_justify="left", title_style="bold", box=None, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) for row in rows)]
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(row.get(name))) for name in names))
    console.print(table if rows else f"{kind}: none")
    console.print()


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return "\n".join(f"{where}: {offer or 'no'}" for offer, where in _grouped(value).items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _grouped(kernels: Mapping[str, str]) -> dict[str, str]:
    """Each distinct offer with the targets that it is for; ``everywhere`` when there is only one."""
    where: dict[str, list[str]] = {}
    for target, offer in kernels.items():
        where.setdefault(offer, []).append(target)
    if len(where) == 1:
        return {next(iter(where)): "everywhere"}
    return {offer: ", ".join(targets) for offer, targets in where.items()}
