"""Loads an artifact in a fresh process, with `ac.load` and with Transformers' own AutoModel, and compares outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def load_both_ways(name: str, artifact: Path, measured: Path) -> dict[str, str]:
    """``load`` and ``auto``: ``equal``, ``-`` where Transformers has no such class, or what went wrong."""
    command = [sys.executable, "-m", "tests.benchmarks.coverage_load", name, str(artifact), str(measured)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("{"):
        cause = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return {"load": f"exit {done.returncode}", "auto": "", "fault": f"loading: {cause[:160]}"}
    answer: dict[str, str] = json.loads(last[0])
    return answer


def main(name: str, artifact: Path, measured: Path) -> dict[str, str]:
    """The answer of the fresh process."""
    from safetensors.torch import load_file

    import autocompress as ac
    from tests.families import ALL

    family, expected = ALL[name], load_file(measured)["measured"]
    auto = auto_class(json.loads((artifact / "autocompress.json").read_text(encoding="utf-8"))["architecture"])
    loaded = ac.load(artifact) if auto else ac.load(artifact, base=family.build)
    answer = {"load": compared(loaded.model, family.inputs(2), expected), "auto": "-"}
    if auto:
        answer["auto"] = compared(auto.from_pretrained(artifact).eval(), family.inputs(2), expected)
    return answer


def auto_class(architecture: str) -> Any:
    """The AutoModel class that gives this architecture, or None for a class that is not Transformers' own."""
    import transformers as hf

    own = getattr(hf, architecture, None)
    for name in sorted(dir(hf)) if own else ():
        mapping = getattr(getattr(hf, name), "_model_mapping", None) if name.startswith("AutoModel") else None
        if mapping is not None and own.config_class in mapping and mapping[own.config_class] is own:
            return getattr(hf, name)
    return own


def compared(model: Any, inputs: Any, expected: Any) -> str:
    """``equal``, or by how much the output differs."""
    import torch

    from autocompress.structure import call, main_output

    with torch.no_grad():
        output = main_output(call(model, inputs))
    if output.shape != expected.shape:
        return f"shape {tuple(output.shape)}, not {tuple(expected.shape)}"
    gap = float((output - expected).abs().max())
    return "equal" if gap < 1e-5 else f"differs by {gap:.2g}"


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
