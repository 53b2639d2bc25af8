"""The samplers propose by seed, and importing the plugins brings in nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import optuna
import pytest
from autocompress_optuna import autocompress_samplers


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random"])
def test_a_seed_fixes_what_is_proposed(name: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def proposals(seed: int) -> list[dict[str, float]]:
        study = optuna.create_study(sampler=autocompress_samplers()[name](seed, 3), directions=["minimize"] * 2)
        study.optimize(lambda t: (t.suggest_float("x", 0, 1), t.suggest_float("y", 0, 1)), n_trials=12)
        return [trial.params for trial in study.trials]

    assert proposals(0) == proposals(0)
    assert proposals(0) != proposals(1)


def test_plugin_packages_import_nothing_heavy() -> None:
    names = ("lowrank", "optuna", "pruning", "quantization", "torch")
    imports = "; ".join(f"import autocompress_{name}" for name in names)
    code = f"import sys; {imports}; print([m for m in ('torch', 'optuna', 'transformers') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
