"""The contract of a runtime as tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
import torch
from torch import Tensor, nn

from autocompress.contracts.precision import Precision
from autocompress.contracts.runtime import Program, Runtime, closing
from autocompress.core.policy import Policy
from autocompress.core.target import Target
from autocompress.plugin.registry import missing
from autocompress.structure.nested import float_tensors
from autocompress.testing import checks
from autocompress.testing.modules import Int8Reference
from autocompress.testing.state import CleanState

FORMS = ("tensor", "mapping", "nested", "model output")


class _Tiny(nn.Module):
    """Two linears, called by name; the dropout shows whether the model is in evaluation mode."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.up, self.down, self.dropout = nn.Linear(16, 32), nn.Linear(32, 16), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Any:
        inner = torch.relu(self.up(x))
        answer = self.down(self.dropout(inner))
        if self.form == "mapping":
            return {"answer": answer, "inner": inner}
        if self.form == "nested":
            return ({"answer": answer}, (inner, answer.mean(1)))
        if self.form == "model output":
            from transformers.modeling_outputs import BaseModelOutput

            return BaseModelOutput(last_hidden_state=answer)
        return answer


class RuntimeContract(CleanState):
    """Subclass it and set ``runtime``; it is tried on a small model on the CPU.

    tolerance   the largest difference to the eager model that its kernels may make.
    """

    runtime: ClassVar[Runtime]
    target: ClassVar[Target] = Target()
    tolerance: ClassVar[float] = 1e-5

    def model(self, form: str = "tensor") -> nn.Module:
        """The model to lower, and what it returns: see `FORMS`; the same weights at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _Tiny(form).requires_grad_(False)

    def example(self, rows: int = 4, length: int = 8) -> Mapping[str, Tensor]:
        """Inputs by name."""
        return {"x": torch.randn(rows, length, 16, generator=torch.Generator().manual_seed(rows))}

    def test_says_what_it_is(self) -> None:
        assert checks.NAME.fullmatch(self.runtime.name), f"name {self.runtime.name!r}: lower case, digits, dashes"
        assert isinstance(self.runtime.needs_torch, bool)
        assert (self.runtime.__doc__ or "").strip()
        assert not missing(self.runtime.requires), f"to test it: {missing(self.runtime.requires)}"

    def test_says_what_its_figures_depend_on(self) -> None:
        key = self.runtime.key()
        assert key, "its key is empty: at the least it holds the name"
        assert all(isinstance(word, str) for pair in key.items() for word in pair), f"words only, not {dict(key)}"
        assert dict(self.runtime.key()) == dict(key), "its key is another one at each call"

    def test_says_where_it_cannot_run(self) -> None:
        assert self.runtime.unavailable(self.target) == ""
        assert self.runtime.unavailable(Target(device="no-such-device", runtime=self.runtime.name)).strip()

    @pytest.mark.parametrize(("rows", "length"), [(4, 8), (2, 8), (1, 8), (7, 8), (4, 5), (3, 1), (1, 20)])
    def test_gives_the_models_outputs_for_other_rows_and_lengths_too(self, rows: int, length: int) -> None:
        inputs = self.example(rows, length)
        program = self._lower()
        self._check(program(inputs), self._eager(inputs))
        self._check(program(inputs), self._eager(inputs))

    def test_an_example_of_one_row_stands_for_more(self) -> None:
        program = self.runtime.lower(self.model(), Policy(), self.example(1), target=self.target)
        self._check(program(self.example(3)), self._eager(self.example(3)))

    @pytest.mark.parametrize("form", FORMS)
    def test_gives_outputs_in_the_models_own_form(self, form: str) -> None:
        self._check(self._lower(form)(self.example(2)), self._eager(self.example(2), form))

    def test_times_a_module_alone_if_it_does_not_call_it(self) -> None:
        linear = self.model().get_submodule("up")
        x = self.example()["x"]
        with torch.no_grad():
            expected = linear(x)
            call = self.runtime.time_module(linear, (x,), {}, target=self.target)
            if call is not None:
                linear.get_parameter("weight").mul_(2.0)  # what is timed stays what it was
                self._check(call(), expected)

    @pytest.mark.parametrize("activations", ["tensor", "token"])
    def test_runs_quantised_modules(self, activations: str, tmp_path: Path) -> None:
        """Where it has a kernel for int8 linears, that gives what the numbers of the module mean."""
        lacking = self.runtime.lacks(Precision("int8", "row", activations), self.target)
        if lacking:
            pytest.skip(lacking)
        model = self.model().eval()
        for name in ("up", "down"):
            model.add_module(name, Int8Reference(cast(nn.Linear, model.get_submodule(name)), activations))
        before = {name: value.clone() for name, value in model.state_dict().items()}
        program = self.runtime.lower(model, Policy(), self.example(), target=self.target)
        self.runtime.save(program, tmp_path)
        loaded = self.runtime.load(lambda: model, tmp_path, target=self.target)
        for inputs in (self.example(), self.example(2, 5)):
            with torch.no_grad():
                expected = model(**inputs)
            # A value on the edge between two steps may be rounded either way.
            torch.testing.assert_close(program(inputs), expected, rtol=0, atol=0.02 * float(expected.abs().max()))
            self._check(loaded(inputs), program(inputs), tolerance=0)
        assert checks.equal(before, dict(model.state_dict())), "the model was changed"

    def test_needs_no_gradient_and_changes_no_weight(self) -> None:
        model = self.model().requires_grad_(True)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        output = self.runtime.lower(model, Policy(), self.example(), target=self.target)(self.example())
        assert not output.requires_grad
        assert checks.equal(before, dict(model.state_dict()))

    def test_an_answer_is_not_overwritten_by_the_next(self) -> None:
        program, inputs = self._lower(), self.example()
        answer = program(inputs)
        before = answer.clone()
        program({"x": -inputs["x"]})
        assert torch.equal(answer, before)

    @pytest.mark.parametrize("form", FORMS)
    def test_what_is_saved_loads(self, form: str, tmp_path: Path) -> None:
        program, inputs = self._lower(form), self.example(3)
        self.runtime.save(program, tmp_path)
        asked: list[nn.Module] = []

        def model() -> nn.Module:
            asked.append(self.model(form))
            return asked[-1]

        loaded = self.runtime.load(model, tmp_path, target=self.target)
        assert bool(asked) == self.runtime.needs_torch, "it does not say right whether it needs the torch module"
        self._check(loaded(inputs), program(inputs), tolerance=0)
        assert not [file.name for file in tmp_path.rglob("*") if file.suffix in (".pkl", ".pickle", ".bin")]

    def test_what_is_closed_leaves_others_alone(self) -> None:
        second = self._lower()
        with closing(self._lower()) as first:
            first(self.example())
        self._check(second(self.example()), self._eager(self.example()))

    def _lower(self, form: str = "tensor") -> Program:
        return self.runtime.lower(self.model(form), Policy(), self.example(), target=self.target)

    def _eager(self, inputs: Mapping[str, Tensor], form: str = "tensor") -> Any:
        with torch.no_grad():
            return self.model(form).eval()(**inputs)

    def _check(self, found: Any, expected: Any, tolerance: float | None = None) -> None:
        """The same tensors under the same names, but for what the kernels may change."""
        within = self.tolerance if tolerance is None else tolerance
        torch.testing.assert_close(float_tensors(found), float_tensors(expected), rtol=0, atol=within)
