"""Search under a budget of your own: at most 22.4 million parameters, in three quarters of the dense model's time.

An objective is a name, a direction and a function of the compressed module. Run it: python examples/custom_objective.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from torch import nn

import autocompress as ac


def parameters(model: nn.Module) -> float:
    """How many numbers the model holds, one that two layers share once.

    The state is counted, not ``model.parameters()``: the weights of an int8 layer are buffers.
    """
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in model.state_dict().values()}
    return float(sum(distinct.values()))


def main(out: Path) -> int:
    """Search, show the front, and return the exit code of the command line: 0 kept, 3 not kept."""
    few = ac.Objective("parameters", direction="minimize", function=parameters, budget="22400000")
    result = ac.search("demo", budget="75%", objectives=[few], trials=24, time="90s", out=out)
    trials = result.to_dataframe()
    front = trials[trials["trial"].isin([trial.number for trial in result.front])]
    print(front.to_string(index=False))
    print(result.verdict_line())
    if result.best is not None:
        print(f"{parameters(result.best.model):,.0f} parameters in {result.best.path}")
    return result.exit_code


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(Path(folder) / "run"))
