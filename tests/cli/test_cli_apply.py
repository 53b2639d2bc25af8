"""A policy file becomes an artifact without a search, and the doctor measures a model's options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autocompress.artifact import load
from autocompress.core.policy import LayerPolicy, Policy, Step

LAYER = "encoder.layer.0.intermediate.dense"


def test_apply_writes_an_artifact_that_loads(cli: Any, here: Path, models: Path, texts: Path) -> None:
    policy = Policy({LAYER: LayerPolicy((Step("svd", {"rank": 8}),))})
    policy.save(here / "policy.json")
    ran = cli("apply", "policy.json", models / "bert", "-o", "out", "--data", texts, "--sequence", 16, "--threads", 1)
    assert ran.code == 0, ran.stderr
    assert "applied: 1 x svd rank 8" in ran.stdout
    assert "artifact: out" in ran.stdout
    model = load(here / "out").model
    shapes = {name: tuple(tensor.shape) for name, tensor in model.get_submodule(LAYER).state_dict().items()}
    assert sorted(shapes.values()) == [(8, 64), (128,), (128, 8)]


def test_doctor_measures_every_kind_of_option(cli: Any, models: Path) -> None:
    ran = cli("doctor", models / "bert", "--sequence", 16, "--threads", 1, "--json")
    assert ran.code == 0, ran.stderr
    rows = json.loads(ran.stdout)["options"]
    measured = [row for row in rows if not row["unavailable"]]
    assert {"linear", "ffn", "attention", "embedding"} <= {row["kind"] for row in measured}
    for row in measured:
        assert 0 < row["low"] <= row["speedup"] <= row["high"]
        assert row["bytes"] > 0
    for row in rows:
        assert row["unavailable"] or row in measured
