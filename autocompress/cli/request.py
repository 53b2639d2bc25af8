"""From options and autocompress.toml to a typed request; the command line wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from autocompress.basics.units import parse_seconds
from autocompress.cli.settings import FILE, Settings, read_settings
from autocompress.core.objective import BUILTIN, parse_budgets
from autocompress.request.request import DEMO, SearchRequest


def search_request(given: Mapping[str, Any], folder: Path | None = None) -> tuple[SearchRequest, str]:
    """The request, and a line for the user about a default that was taken, or "".

    given   option to value, None where it was not given; ``budgets`` and ``time`` as text.
    folder  where autocompress.toml is looked for; default: here.
    Raises UsageError for a bad setting or value.
    """
    settings = read_settings(folder if folder is not None else Path())
    values = {name: value for name, value in _settled(settings).items() if value is not None}
    values |= {name: value for name, value in given.items() if value not in (None, ())}
    notice = ""
    if "model" not in values:
        values["model"] = DEMO
        why = "no MODEL was named" + (
            f", neither here nor in {FILE}" if settings.file else f" and there is no {FILE} here"
        )
        notice = f"{why}: taking the embedded demo model (all-MiniLM-L6-v2, sentence embeddings)"
    if "time" in values:
        values["seconds"] = parse_seconds(values.pop("time"))
    if "out" in values:
        values["out"] = Path(values["out"])
    _check_budgets(values.get("budgets", ()))
    return SearchRequest(**values), notice


def _check_budgets(texts: Sequence[str]) -> None:
    """Refuse a bad budget at once, before anything heavy is imported; names that plugins may know are left to them."""
    names = {text.partition("=")[0].strip().partition(".")[0] for text in texts if "=" in text}
    if names <= {objective.name for objective in BUILTIN}:
        parse_budgets(texts)


def run_folder(request: SearchRequest) -> Path | None:
    """The folder where a run of this request keeps its work, if it exists by now."""
    from autocompress.storage.folder import default_folder

    if request.out is not None:
        return request.out if request.out.is_dir() else None
    devices = ("cpu", "cuda") if request.device == "auto" else (request.device,)
    folders = [default_folder(request.model_name, request.budgets, device) for device in devices]
    return max((folder for folder in folders if folder.is_dir()), key=lambda path: path.stat().st_mtime, default=None)


def _settled(settings: Settings) -> dict[str, Any]:
    """The settings under the names of the request's fields."""
    values = {field.name: getattr(settings, field.name) for field in fields(settings) if field.name != "file"}
    values["budgets"] = values.pop("budget")
    return values
