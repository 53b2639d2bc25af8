"""What the README shows is true: its plugin keeps the public contract, its commands and Python names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from typer.main import get_command

import autocompress
from autocompress.cli.app import app
from autocompress.plugin.registry import load_registry
from autocompress.testing import TechniqueContract

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PLUGIN = next(block for block in BLOCKS if "autocompress_techniques" in block)


def plugin() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme_plugin"}
    exec(compile(PLUGIN, "README.md", "exec"), names)
    return names


class TestPluginOfTheReadme(TechniqueContract):
    technique = plugin()["PlainSvd"]()
    least_cosine = 0.5  # half of the paying rank, of random weights


def test_the_plugin_registers() -> None:
    names = plugin()
    module = type("readme_plugin", (), {"autocompress_techniques": staticmethod(names["autocompress_techniques"])})
    assert "plain-svd" in load_registry([module]).techniques


def test_python_blocks_are_python_and_their_names_exist() -> None:
    assert len(BLOCKS) >= 3
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ac":
                assert node.attr in autocompress.__all__


def test_every_command_is_in_the_readme_and_the_reverse() -> None:
    commands = set(getattr(get_command(app), "commands", {}))
    named = set(
        re.findall(r"`(?:autocompress )?(\w+)(?: [^`]*)?`", README.partition("## Commands")[2].partition("\n\n**")[0])
    )
    assert commands <= named


def test_every_floor_is_in_the_readme() -> None:
    drawn = README.partition("## How it is built")[2].partition("Everything that compresses")[0]
    top = Path(autocompress.__file__).parent
    for folder in (path.parent.name for path in top.glob("*/__init__.py")):
        assert re.search(rf"\b{folder}\b", drawn), f"{folder} is not drawn"
