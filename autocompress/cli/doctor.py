"""`autocompress doctor`: what this machine is, what is installed, and what would make a model faster here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autocompress.basics.units import format_bytes
from autocompress.cli.console import print_json, say, stdout, stdout_reserved
from autocompress.cli.progress import display
from autocompress.errors import PluginError

EXAMPLES = """Examples:

  autocompress doctor                  the machine, the versions, the plugins

  autocompress doctor ./my-model       and every option at the model's own shapes, measured"""
LIBRARIES = ("autocompress", "torch", "transformers", "optuna", "pluggy", "safetensors", "numpy", "neural-compressor")


def add_to(app: typer.Typer) -> None:
    app.command("doctor", epilog=EXAMPLES)(doctor)


def doctor(
    model: Annotated[str | None, typer.Argument(metavar="MODEL", help="A Hugging Face folder or id, or demo.")] = None,
    data: Annotated[
        str | None, typer.Option(help="A text, csv or json file, or .safetensors, that the model runs on.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The text column of a csv or json file.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    batch: Annotated[int, typer.Option(help="Rows in a timed call.")] = 1,
    sequence: Annotated[int, typer.Option(help="Tokens in a row.")] = 128,
    threads: Annotated[int | None, typer.Option(help="Threads of a CPU; default: the free cores.")] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    allow_pickle: Annotated[bool, typer.Option("--allow-pickle", help="Load a checkpoint that is a pickle.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")] = False,
) -> int:
    """Look at the machine and the installation; with a model, measure what would make it faster here."""
    from autocompress.request.request import SearchRequest

    with stdout_reserved(as_json):
        found = examine()
        if model is not None and not found["plugins that fail"]:
            from autocompress.pipeline.doctor import faster_here

            request = SearchRequest(
                model=model, data=data, column=column, device=device, batch=batch, sequence=sequence, threads=threads,
                trust_remote_code=trust_remote_code, allow_pickle=allow_pickle,
            )  # fmt: skip
            with display() as shown:
                found["options"] = faster_here(request, shown)
    if as_json:
        print_json(found)
    else:
        _print(stdout(), found)
    return PluginError.exit_code if found["plugins that fail"] else 0


def examine() -> dict[str, Any]:
    """Machine, threads, instruction sets, versions, plugins and disk as plain data; imports no model."""
    from autocompress.measure.machine import available_threads, fingerprint, versions

    machine = fingerprint("cpu")
    failing, names = _plugins()
    here = shutil.disk_usage(Path.cwd())
    return {
        "cpu": machine["cpu"],
        "system": machine["system"],
        "cores": machine["cores"],
        "threads": available_threads(),
        "memory": machine["memory"],
        "flags": machine["flags"],
        "gpu": _gpu(),
        "versions": versions(LIBRARIES),
        "plugins": names,
        "plugins that fail": failing,
        "disk": {"folder": str(Path.cwd()), "free": here.free},
    }


def _plugins() -> tuple[list[str], list[str]]:
    """What the registry says: the first plugin that fails to load, and the distributions that did load."""
    from autocompress.plugin.registry import load_registry

    try:
        registry = load_registry()
        len(registry.origin)  # every plugin says what it offers
    except PluginError as error:
        return [str(error)], []
    return [], sorted(registry.installed)


def _gpu() -> str:
    from autocompress.measure.machine import torch_build

    built, version = torch_build()
    if not built:
        return f"none (torch {version} is built without CUDA)"
    import torch

    if not torch.cuda.is_available():
        return "none"
    return torch.cuda.get_device_name(0)


def _print(console: Console, found: dict[str, Any]) -> None:
    lines = {
        "cpu": f"{found['cpu']}, {found['cores']} cores, {found['threads']} threads free to use",
        "system": f"{found['system']}, {format_bytes(found['memory'])} memory",
        "flags": ", ".join(found["flags"]) or "none that matter",
        "gpu": found["gpu"],
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "plugins": ", ".join(found["plugins"]) or "none",
        "disk": f"{format_bytes(found['disk']['free'])} free at {found['disk']['folder']}",
    }
    for name, text in lines.items():
        say(console, f"{name:9} {text}")
    for failure in found["plugins that fail"]:
        say(console, f"fails     {failure}", style="red")
    if "options" in found:
        console.print()
        console.print(_options(found["options"]))


def _options(rows: list[dict[str, Any]]) -> Table:
    """Every option kind with its measured speed-up and what it weighs, or why it is not offered here."""
    table = Table("layer", "shape", "option", "speed-up", "interval", "bytes", box=None, pad_edge=False)
    for row in rows:
        names = (row["kind"], row["shape"], row["option"])
        if row["unavailable"]:
            table.add_row(*map(escape, (*names, "unavailable", row["unavailable"], "")), style="dim")
            continue
        figures = (
            f"{row['speedup']:.2f}x",
            f"{row['low']:.2f}-{row['high']:.2f}x",
            f"{format_bytes(row['bytes'])} of {format_bytes(row['dense_bytes'])}",
        )
        table.add_row(*map(escape, (*names, *figures)))
    return table
