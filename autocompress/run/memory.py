"""Memory on a CPU: what a saved model takes beyond its weights, measured on the dense one, so that it is predicted.

The verdict measures an artifact in a fresh process: its weights, the code that loads it, what kernels copy,
activations. The dense model's own figure leaves its loader's code out, so as not to flatter what is compared with it.
"""

from __future__ import annotations

import shutil

from autocompress.artifact import Session, run_session
from autocompress.errors import TrialError
from autocompress.policy import Policy
from autocompress.run.baseline import origin
from autocompress.run.folder import RunFolder
from autocompress.run.progress import Event, Progress
from autocompress.run.saving import save_policy
from autocompress.run.setup import Setup, base_of
from autocompress.run.trials import weight_bytes
from autocompress.units import format_bytes


def overhead_of(setup: Setup, folder: RunFolder, context: str, memory: float, progress: Progress) -> float:
    """Bytes beyond the weights that the verdict is expected to find.

    memory   the dense model's own figure. Where no budget is on memory, or a GPU tells it in every trial, nothing is
             measured and the dense model's own overhead is taken.
    """
    weights = weight_bytes(setup.model)
    budgets = {budget.objective.name for budget in setup.names.budgets}
    if "memory" not in budgets or setup.target.device != "cpu":
        return memory - weights
    progress(Event("baseline", message="measuring the memory of the dense model as an artifact"))
    place = folder.candidates / "dense"

    def measure() -> object:
        try:
            artifact = save_policy(setup, Policy(), {}, place)
            session: Session = run_session(
                artifact.path,
                target=setup.target,
                seed=setup.request.seed,
                base=base_of(setup),
                dense=origin(setup),
                plugins=setup.request.plugins,
            )
        finally:
            shutil.rmtree(place, ignore_errors=True)
        return session.memory

    try:
        found = float(folder.store.memo(f"artifact/{context}", measure))
    except TrialError as error:
        message = f"memory is predicted without what an artifact adds, which could not be measured: {error}"
        progress(Event("baseline", message=message, note=True))
        return memory - weights
    message = (
        f"memory: beyond its weights an artifact takes {format_bytes(found - weights)} in a fresh process (code, "
        f"copies of kernels, activations), the dense model alone {format_bytes(memory - weights)}; predictions "
        "count the former, relative budgets refer to the latter"
    )
    progress(Event("baseline", message=message, note=True))
    return found - weights
