"""Plugins of strangers that break: the line names the distribution and what to do; faults are told as ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOOK = "from autocompress import hookimpl\n"
FAILS = "import there_is_no_such_module\n"
MISSPELT = HOOK + "@hookimpl\ndef autocompress_technqiues():\n    return []\n"
WRONG_ARGUMENT = HOOK + "@hookimpl\ndef autocompress_load_model(source, taks):\n    return None\n"
TAKEN = (
    HOOK + "from pathlib import Path\n"
    "@hookimpl\ndef autocompress_search_spaces():\n    return [Path('somewhere/quantize.toml')]\n"
)
BROKEN_LOADER = HOOK + "@hookimpl(tryfirst=True)\ndef autocompress_load_model(source):\n    return {}[source]\n"
BROKEN_HOOK = HOOK + "@hookimpl\ndef autocompress_techniques():\n    raise RuntimeError('boom')\n"
LEAVES = HOOK + "@hookimpl(tryfirst=True)\ndef autocompress_load_model(source):\n    raise SystemExit(0)\n"
BROKEN_EVALUATOR = (
    HOOK
    + """
from autocompress import Evaluator, Score

class Boom(Evaluator):
    name = "boom"
    metric = "boom"
    asked = 0
    def reference(self, run, batches):
        self.asked += 1
        if self.asked > 1:  # the first time is the trial on the dense model, before anything is measured
            raise RuntimeError("[red]boom")
    def score(self, run, batches, reference):
        return Score(1.0)

@hookimpl
def autocompress_evaluators():
    return [Boom()]
"""
)


def test_a_plugin_that_fails_to_import(refused: Any, stranger: Any) -> None:
    env = stranger(FAILS)
    says = ("plugin 'stranger'", "there_is_no_such_module", "pip uninstall stranger")
    refused("plugins", says=says, env=env)
    refused("search", "-b", "75%", says=says, env=env)


def test_a_plugin_that_misspells_a_hook(refused: Any, stranger: Any) -> None:
    says = ("'stranger'", "autocompress_technqiues", "Did you mean 'autocompress_techniques'?")
    refused("plugins", says=says, env=stranger(MISSPELT))


def test_a_plugin_that_misspells_an_argument(refused: Any, stranger: Any) -> None:
    refused("plugins", says=("'stranger'", "taks"), env=stranger(WRONG_ARGUMENT))


def test_a_plugin_that_takes_a_name_that_is_taken(refused: Any, stranger: Any) -> None:
    says = ("'quantize'", "'autocompress'", "'stranger'", "uninstall one of them")
    refused("plugins", says=says, env=stranger(TAKEN))


def test_doctor_shows_the_machine_and_the_plugin_that_fails(cli: Any, stranger: Any) -> None:
    ran = cli("doctor", "--json", env=stranger(FAILS))
    assert ran.code == 2
    found = json.loads(ran.stdout)
    assert found["threads"] >= 1
    assert "there_is_no_such_module" in found["plugins that fail"][0]
    assert "Traceback" not in ran.stderr


def test_a_fault_of_a_plugin_is_one_line_that_names_it_and_a_log(cli: Any, stranger: Any) -> None:
    env = stranger(BROKEN_LOADER)
    ran = cli("search", "some-model", "-b", "75%", env=env)
    assert ran.code == 1
    assert "Traceback" not in ran.stderr
    line = next(line for line in ran.stderr.splitlines() if line.startswith("error: "))
    assert "fault of the plugin 'stranger' of 'stranger', not yours (KeyError: 'some-model')" in line
    assert "pip uninstall stranger" in line
    log = Path(line.rpartition(" ")[2])
    try:
        assert "Traceback" in log.read_text()
        assert "stranger_plugin.py" in log.read_text()
    finally:
        log.unlink()
    shown = cli("search", "some-model", "-b", "75%", env={**env, "AUTOCOMPRESS_DEBUG": "1"})
    assert shown.code == 1
    assert "Traceback" in shown.stderr
    assert "error: this is a fault of the plugin 'stranger' of 'stranger' (KeyError: 'some-model')." in shown.stderr


def test_a_hook_that_fails_names_its_plugin(refused: Any, stranger: Any) -> None:
    says = (
        "plugin 'stranger' of distribution 'stranger'",
        "autocompress_techniques",
        "boom",
        "stranger_plugin.py line 4",
    )
    refused("plugins", says=(*says, "pip uninstall stranger"), env=stranger(BROKEN_HOOK))


def test_a_plugin_that_wants_to_end_the_process_is_no_success(cli: Any, stranger: Any) -> None:
    ran = cli("search", "some-model", "-b", "75%", env=stranger(LEAVES))
    assert ran.code == 1, ran.stderr
    assert "fault of the plugin 'stranger' of 'stranger', not yours (SystemExit: 0)" in ran.stderr


def test_a_fault_during_a_run_is_logged_in_its_folder(
    cli: Any, here: Path, stranger: Any, models: Path, texts: Path
) -> None:
    options = ("--data", texts, "--sequence", 16, "--threads", 1, "--evaluator", "boom", "-o", "run")
    ran = cli("search", models / "bert", "-b", "300%", *options, env=stranger(BROKEN_EVALUATOR))
    assert ran.code == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    assert "fault of the plugin 'stranger'" in ran.stderr
    assert (
        "(RuntimeError: [red]boom); without it: pip uninstall stranger; the traceback is in run/error.log" in ran.stderr
    )
    assert "stranger_plugin.py" in (here / "run" / "error.log").read_text()
