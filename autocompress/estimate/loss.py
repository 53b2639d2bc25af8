"""How much quality an option costs: a cheap score for every option, and one real probe per (part, technique).

The cheap score is the relative squared error of the part's owner, replayed alone on calibration inputs. A probe changes
one part in the whole model and asks the evaluator; it runs only from the changed block on. The probe rescales the cheap
scores of its part and technique, so that they predict the evaluator's loss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autocompress.compress import Workbench
from autocompress.contracts.evaluator import Batch, Evaluator
from autocompress.core.layer import Layer
from autocompress.core.policy import Policy
from autocompress.errors import DiskFullError, TrialError, cause_of
from autocompress.structure import Recorded, Suffix, call

logger = logging.getLogger(__name__)
Memo = Callable[[str, Callable[[], Any]], Any]
CAP = 2**30
"""Bytes of dense block outputs that are kept for the probes."""


@dataclass(frozen=True)
class Probed:
    """The loss of one probe (negative: better than dense), and the cheap score of the same change."""

    loss: float
    cheap: float

    def damage(self, cheap: float) -> float:
        """The loss of another change of the same part and technique, by its cheap score.

        In proportion. A gain is believed as far as it was seen; what goes further loses it again as fast.
        """
        if self.cheap <= 0:
            return 0.0
        share = cheap / self.cheap
        return self.loss * (share if self.loss >= 0 else min(share, 2.0 - share))


class Sensitivity:
    """Scores and probes on one workbench. ``context`` names everything that the stored values depend on.

    ``refused`` maps options that do not run in this model to the cause.
    """

    def __init__(
        self,
        bench: Workbench,
        layers: Sequence[Layer],
        evaluator: Evaluator,
        batches: Sequence[Batch],
        recorded: Mapping[str, Recorded],
        memo: Memo,
        context: str,
    ) -> None:
        self._bench, self._evaluator, self._batches = bench, evaluator, batches
        self._recorded, self._memo, self._context = recorded, memo, context
        self._layers = layers
        self._suffix: Suffix | None = None
        self._reference: Any = None
        self._dense = 0.0
        self.refused: dict[str, str] = {}

    @property
    def probe_share(self) -> float:
        """The share of a full forward pass that the probes ran, counted in linears; 1.0 before any ran."""
        if self._suffix is None or not self._suffix.possible:
            return 1.0
        return self._suffix.executed / self._suffix.possible

    def cheap(self, owner: str, policy: Policy) -> float | None:
        """Relative squared error at the owner's output, or None when this point cannot be built or gives NaN."""

        def measure() -> float:
            model = self._bench.set(policy)
            if owner not in self._recorded:
                raise TrialError("it runs on no row of the calibration data")
            with torch.inference_mode():
                return self._recorded[owner].error(model.get_submodule(owner))

        return self._offered(f"cheap/{self._context}/{owner}/{policy.digest()}", policy, measure)

    def probe(self, order: int, policy: Policy, cheap: float) -> Probed:
        """The evaluator's loss when only these layers change, run from position ``order`` on."""

        def measure() -> float:
            self._prepare()
            assert self._suffix is not None
            suffix, at = self._suffix, {id(batch): index for index, batch in enumerate(self._batches)}
            model = self._bench.set(policy)

            def run(batch: Batch) -> Any:
                with suffix.from_layer(model, order, at[id(batch)]), torch.inference_mode():
                    return call(model, batch)

            return self._dense - self._evaluator.score(run, self._batches, self._reference).guide

        loss = self._offered(f"probe/{self._context}/{policy.digest()}", policy, measure)
        return Probed(float("inf") if loss is None else loss, cheap)

    def _offered(self, key: str, policy: Policy, measure: Callable[[], float]) -> float | None:
        """The stored or measured value; None when the policy does not run, which is tried again by the next search."""

        def finite() -> float:
            value = measure()
            if not math.isfinite(value):
                raise TrialError(f"gives {value}")
            return value

        try:
            return float(self._memo(key, finite))
        except DiskFullError:
            raise
        except (Exception, SystemExit) as error:  # a stranger's module may raise anything: this option is not offered
            self._refuse(policy, error)
            logger.debug("refused %s", policy.to_json(), exc_info=True)
            return None
        finally:
            self._bench.set(Policy())

    def _refuse(self, policy: Policy, error: BaseException) -> None:
        for fqn, layer_policy in policy.layers.items():
            self.refused.setdefault(f"{layer_policy.label()} on {fqn}", cause_of(error))

    def _prepare(self) -> None:
        """Dense outputs, once, when the first probe is not already known."""
        if self._suffix is not None:
            return
        model = self._bench.dense
        self._suffix = Suffix(model, self._layers, self._batches, most=CAP)
        run = runner(model)
        self._reference = self._evaluator.reference(run, self._batches)
        self._dense = self._evaluator.score(run, self._batches, self._reference).guide


def runner(model: nn.Module) -> Callable[[Batch], Any]:
    """The model as an evaluator calls it: one batch in, the raw output out, no gradients."""

    def run(batch: Batch) -> Any:
        with torch.inference_mode():
            return call(model, batch)

    return run
