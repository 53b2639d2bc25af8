"""The contract of a runtime as tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from autocompress.contracts.runtime import Runtime
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.plugin.registry import missing
from autocompress.testing import checks
from autocompress.testing.state import CleanState


class _Tiny(nn.Module):
    """Two linears, called by name; the dropout shows whether the model is in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down, self.dropout = nn.Linear(16, 32), nn.Linear(32, 16), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.down(self.dropout(torch.relu(self.up(x))))
        return answer


class RuntimeContract(CleanState):
    """Subclass it and set ``runtime``; it is tried on a small model on the CPU.

    tolerance   the largest difference to the eager model that its kernels may make.
    """

    runtime: ClassVar[Runtime]
    target: ClassVar[Target] = Target()
    tolerance: ClassVar[float] = 1e-5

    def model(self) -> nn.Module:
        """The model to lower; the same weights at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _Tiny().requires_grad_(False)

    def example(self, rows: int = 4) -> Mapping[str, Tensor]:
        """Inputs by name."""
        return {"x": torch.randn(rows, 8, 16, generator=torch.Generator().manual_seed(rows))}

    def test_says_what_it_is(self) -> None:
        assert checks.NAME.fullmatch(self.runtime.name), f"name {self.runtime.name!r}: lower case, digits, dashes"
        assert isinstance(self.runtime.builds_fast, bool)
        assert (self.runtime.__doc__ or "").strip()
        assert not missing(self.runtime.requires), f"to test it: {missing(self.runtime.requires)}"

    def test_says_where_it_cannot_run(self) -> None:
        assert self.runtime.unavailable(self.target) == ""
        assert self.runtime.unavailable(Target(device="no-such-device", runtime=self.runtime.name)).strip()

    @pytest.mark.parametrize("rows", [4, 2])
    def test_gives_the_models_outputs(self, rows: int) -> None:
        model = self.model()
        program = self.runtime.lower(model, Policy(), self.example())
        expected = self._eager(rows)
        torch.testing.assert_close(program(self.example(rows)), expected, rtol=0, atol=self.tolerance)
        torch.testing.assert_close(program(self.example(rows)), expected, rtol=0, atol=self.tolerance)

    def test_needs_no_gradient_and_changes_no_weight(self) -> None:
        model = self.model().requires_grad_(True)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        output = self.runtime.lower(model, Policy(), self.example())(self.example())
        assert not output.requires_grad
        assert checks.equal(before, dict(model.state_dict()))

    def test_what_is_saved_loads(self, tmp_path: Path) -> None:
        program = self.runtime.lower(self.model(), Policy(), self.example())
        self.runtime.save(program, tmp_path)
        loaded = self.runtime.load(self.model(), tmp_path)
        torch.testing.assert_close(loaded(self.example()), program(self.example()), rtol=0, atol=0)
        assert not [file.name for file in tmp_path.rglob("*") if file.suffix in (".pkl", ".pickle", ".bin")]

    def _eager(self, rows: int) -> Any:
        with torch.no_grad():
            return self.model().eval()(**self.example(rows))
