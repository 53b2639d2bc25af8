"""Loads artifacts in a fresh process, with `ac.load` and with Transformers' own AutoModel, and compares outputs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def load_both_ways(name: str, artifacts: Sequence[Path]) -> dict[str, str]:
    """``load`` and ``auto``: ``equal``, ``-`` where Transformers has no such class, or what went wrong.

    Beside every artifact lies ``<artifact>.safetensors`` with the output that is ``expected`` of it.
    """
    command = [sys.executable, "-m", "tests.benchmarks.coverage_load", name, *map(str, artifacts)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = done.stdout.strip().splitlines()[-1:] or [""]
    if done.returncode or not last[0].startswith("{"):
        cause = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return {"load": f"exit {done.returncode}", "auto": "", "fault": f"loading: {cause[:160]}"}
    answer: dict[str, str] = json.loads(last[0])
    return answer


def main(name: str, artifacts: Sequence[str]) -> dict[str, str]:
    """The answer of the fresh process; the first difference speaks for all artifacts."""
    from safetensors.torch import load_file

    import autocompress as ac
    from tests.families import ALL

    family, answers = ALL[name], []
    for path in map(Path, artifacts):
        expected = load_file(f"{path}.safetensors")["expected"]
        manifest = json.loads((path / "autocompress.json").read_text(encoding="utf-8"))
        auto = auto_class(manifest["architecture"])
        base = {} if auto else {"base": family.build}
        load = _compared(lambda p=path, b=base: ac.load(p, **b).model, family.inputs(2), expected)
        own = _compared(lambda p=path, a=auto: a.from_pretrained(p).eval(), family.inputs(2), expected) if auto else "-"
        answers.append({"load": load, "auto": own})
    return {way: next((a[way] for a in answers if a[way] not in ("equal", "-")), answers[0][way]) for way in answers[0]}


def auto_class(architecture: str) -> Any:
    """The AutoModel class that gives this architecture, or its own; None for one that is not Transformers'."""
    import transformers as hf

    own = getattr(hf, architecture, None)
    for name in sorted(dir(hf)) if own else ():
        mapping = getattr(getattr(hf, name), "_model_mapping", None) if name.startswith("AutoModel") else None
        if mapping is not None and own.config_class in mapping and mapping[own.config_class] is own:
            return getattr(hf, name)
    return own


def _compared(load: Callable[[], Any], inputs: Any, expected: Any) -> str:
    """``equal``, or by how much the output differs, or the error of ours."""
    import torch

    from autocompress.errors import AutocompressError
    from autocompress.structure import call, main_output

    try:
        with torch.no_grad():
            output = main_output(call(load(), inputs))
    except AutocompressError as error:
        return f"refused: {' '.join(str(error).split())[:120]}"
    if output.shape != expected.shape:
        return f"shape {tuple(output.shape)}, not {tuple(expected.shape)}"
    gap = float((output - expected).abs().max())
    return "equal" if gap < 1e-5 else f"differs by {gap:.2g}"


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
