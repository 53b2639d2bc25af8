"""The contract of an evaluator as tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch

from autocompress.contracts.evaluator import NOT_INPUTS, Batch, Evaluator, Run, Score
from autocompress.errors import TrialError
from autocompress.testing import checks
from autocompress.testing.state import CleanState

BATCHES, ROWS, TOKENS, WIDTH = 3, 4, 6, 32


class EvaluatorContract(CleanState):
    """Subclass it and set ``evaluator``; override ``output`` where it reads something else than one tensor.

    The outputs that it scores are made up: the dense model's, and the same with more and more noise.
    """

    evaluator: ClassVar[Evaluator]

    def batches(self) -> Sequence[Batch]:
        """Batches as core makes them: ids, a mask with padding, a label and a group for every row."""
        made = []
        for number in range(BATCHES):
            generator = torch.Generator().manual_seed(number)
            mask = torch.ones(ROWS, TOKENS, dtype=torch.long)
            mask[-1, TOKENS // 2 :] = 0
            ids = torch.randint(1, WIDTH, (ROWS, TOKENS), generator=generator)
            labels, group = torch.arange(ROWS) % 2, torch.arange(ROWS) // 2
            made.append({"input_ids": ids, "attention_mask": mask, "labels": labels, "group": group})
        return made

    def output(self, values: torch.Tensor) -> Any:
        """The raw model output that holds these values. values: (ROWS, TOKENS, WIDTH)."""
        return values

    def model(self, noise: float) -> Run:
        """A model whose outputs are the dense model's plus noise."""

        def run(batch: Batch) -> Any:
            generator = torch.Generator().manual_seed(int(batch["input_ids"].sum()))
            dense = torch.randn(ROWS, TOKENS, WIDTH, generator=generator)
            return self.output(dense + noise * torch.randn(ROWS, TOKENS, WIDTH, generator=generator))

        return run

    def _score(self, noise: float) -> Score:
        batches = self.batches()
        reference = self.evaluator.reference(self.model(0.0), batches)
        return self.evaluator.score(self.model(noise), batches, reference)

    def test_says_what_it_is(self) -> None:
        assert checks.NAME.fullmatch(self.evaluator.name), f"name {self.evaluator.name!r}: lower case, digits, dashes"
        assert self.evaluator.metric.strip()
        assert all(isinstance(task, str) for task in self.evaluator.tasks)

    def test_says_what_it_reads(self) -> None:
        for names in (self.evaluator.needs, self.evaluator.reads):
            assert isinstance(names, tuple)
            assert set(names) <= NOT_INPUTS, f"{names}: batches hold {sorted(NOT_INPUTS)} beyond the model's inputs"

    def test_suits_its_own_outputs(self) -> None:
        batches = self.batches()
        assert self.evaluator.unsuited(self.model(0.0)(batches[0]), batches) == ""

    def test_more_noise_is_never_better(self) -> None:
        values = [self._score(noise).value for noise in (0.0, 0.3, 3.0)]
        assert values == sorted(values, reverse=True), f"higher is better, so noise must lower it: {values}"
        assert values[0] > values[-1], "the score does not see the outputs"
        guides = [self._score(noise).guide for noise in (0.0, 0.3, 3.0)]
        assert guides == sorted(guides, reverse=True), f"what guides the search must fall as well: {guides}"

    def test_score_is_finite_and_repeatable(self) -> None:
        first, second = self._score(0.3), self._score(0.3)
        assert first == second
        assert math.isfinite(first.value)
        assert all(isinstance(name, str) and math.isfinite(value) for name, value in first.details.items())

    def test_rows_agree_with_the_value(self) -> None:
        score = self._score(0.3)
        if score.per_row:
            assert len(score.per_row) == BATCHES * ROWS
            assert min(score.per_row) <= score.value <= max(score.per_row)

    def test_refuses_outputs_that_are_not_numbers(self) -> None:
        with pytest.raises(TrialError):
            self._score(math.nan)
