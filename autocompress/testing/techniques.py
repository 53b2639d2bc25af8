"""The contract of a technique as tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from autocompress.contracts.linears import is_linear, leaves, make_linear, weight_of
from autocompress.contracts.precision import Quantized
from autocompress.contracts.technique import Replacement, Stage, Technique
from autocompress.core.domain import Domain, Value
from autocompress.core.layer import KINDS
from autocompress.core.target import Target
from autocompress.plugin.registry import missing
from autocompress.testing import checks
from autocompress.testing.groups import Case, all_cases, narrowed
from autocompress.testing.state import CleanState


class TechniqueContract(CleanState):
    """Subclass it, set ``technique``, and pytest tries the technique on small real layers of its kinds.

    target         what ``domain`` is asked for; the default leaves out the flags, which means this machine's.
    least_cosine   how near to the dense output the mildest option must come on every layer.
    cases          override it to add layers, for kinds that `autocompress.testing.groups` does not build.
    """

    technique: ClassVar[Technique]
    target: ClassVar[Target] = Target()
    least_cosine: ClassVar[float] = 0.9

    def cases(self) -> Sequence[Case]:
        """The layers to try the technique on."""
        return all_cases(self.technique.kinds)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for every layer for which the technique offers something."""
        if "case" in metafunc.fixturenames:
            cases = [case for case in self.cases() if self._domain(case) is not None]
            metafunc.parametrize("case", cases, ids=[case.name for case in cases])

    def _domain(self, case: Case) -> dict[str, Domain] | None:
        offered = self.technique.domain(case.group.layer, self.target)
        return None if offered is None else dict(offered)

    def _options(self, case: Case) -> list[checks.Params]:
        return checks.options(self._domain(case) or {})

    def _compress(self, case: Case, params: checks.Params) -> Replacement:
        with torch.no_grad():
            return self.technique.compress(case.group, params, case.calibration)

    def test_says_what_it_is(self) -> None:
        technique = self.technique
        assert checks.NAME.fullmatch(technique.name), f"name {technique.name!r}: lower case, digits, single dashes"
        assert isinstance(technique.stage, Stage)
        assert technique.kinds, "a technique needs at least one kind of layer"
        assert set(technique.kinds) <= set(KINDS), f"kinds are among {KINDS}"
        assert isinstance(technique.requires, tuple)
        assert isinstance(technique.needs_calibration, bool)
        assert technique.references, "name the source of the method, such as arXiv:2306.11695"
        assert all(isinstance(source, str) and source.strip() for source in technique.references)
        assert (technique.__doc__ or "").strip(), "the docstring is what `autocompress plugins` shows"
        assert not missing(technique.requires), f"to test it: {missing(technique.requires)}"

    def test_offers_something(self) -> None:
        offers = [case.name for case in self.cases() if self._domain(case) is not None]
        assert offers, f"{self.technique.name} offers nothing on any of {[case.name for case in self.cases()]}"

    def test_leaves_other_kinds_alone(self) -> None:
        for case in all_cases():
            layer = case.group.layer
            if layer.kind not in self.technique.kinds:
                assert self.technique.domain(layer, self.target) is None, f"offers itself for a {layer.kind}"
            elif len(layer.roles) > 1:
                unsafe = replace(layer, note="its features are used elsewhere in the model")
                assert self.technique.domain(unsafe, self.target) is None, "a group with a note has no legal change"

    def test_domain_is_plain_and_finite(self, case: Case) -> None:
        for name, domain in (self._domain(case) or {}).items():
            values = domain.values()
            assert values, f"{name} has no value"
            assert len(set(values)) == len(values), f"{name} repeats a value"
            assert all(isinstance(value, bool | int | float | str) and value in domain for value in values)
            assert json.loads(json.dumps(values)) == list(values), f"{name} does not survive JSON"

    def test_options_differ(self, case: Case) -> None:
        answers = [self._compress(case, params) for params in self._options(case)]
        for i, first in enumerate(answers):
            for second in answers[:i]:
                assert not torch.equal(case.run(first), case.run(second)), "two options give the same layer"

    def test_never_edits_what_it_is_given(self, case: Case) -> None:
        before = {name: value.clone() for name, value in case.owner.state_dict().items()}
        seconds = {role: seen.second.clone() for role, seen in case.calibration.items()}
        modules = dict(case.group.modules)
        for params in self._options(case):
            given = dict(params)
            answer = self._compress(case, params)
            assert params == given, "params were changed"
            kept = {id(module) for module in case.owner.modules()}
            inner = [module for _, new in checks.distinct(answer) for module in new.modules()]
            assert not kept & {id(module) for module in inner}, "a module was returned again; leave its role out"
        assert checks.equal(before, dict(case.owner.state_dict())), "the caller's weights were changed"
        assert checks.equal(seconds, {role: seen.second for role, seen in case.calibration.items()})
        assert modules == dict(case.group.modules)

    def test_is_deterministic(self, case: Case) -> None:
        twin = case.copy()
        for params in self._options(case):
            torch.manual_seed(1)
            first = checks.state(self._compress(case, params))
            torch.manual_seed(2)
            assert checks.equal(first, checks.state(self._compress(twin, params))), f"{params}: differs when repeated"

    def test_output_is_finite_and_near(self, case: Case) -> None:
        dense, best = case.dense(), -1.0
        for params in self._options(case):
            answer = case.run(self._compress(case, params))
            assert answer.shape == dense.shape
            assert answer.dtype == dense.dtype
            assert bool(torch.isfinite(answer).all()), f"{params}: NaN or infinity"
            best = max(best, checks.cosine(answer, dense))
        assert best >= self.least_cosine, f"the mildest option comes to a cosine of {best:.4f} only"

    def test_says_what_it_quantises_to(self, case: Case) -> None:
        """A runtime builds its own kernel from the numbers that a quantised module names."""
        for params in self._options(case):
            answer, precision = self._compress(case, params), self.technique.precision(params)
            for role, module in answer.modules.items():
                found = module.quantized() if isinstance(module, Quantized) else None
                if found is None:
                    continue
                assert found.precision == precision, f"{params}: its modules are of {found.precision}"
                assert not found.weight.is_floating_point(), "quantised weights are integers"
                plain = make_linear(found.weight * found.scale[:, None], found.bias)
                near = checks.cosine(case.run(Replacement({role: plain})), case.run(Replacement({role: module})))
                assert near > 0.999, f"{params}: its numbers give another layer (cosine {near:.4f})"

    def test_is_called_as_what_it_replaces(self, case: Case) -> None:
        """Models call torch's own layers by position or by keyword, ``layer(input=x)``."""
        if case.group.layer.kind not in ("linear", "embedding"):
            pytest.skip("a group is called by its owner")
        module = self._compress(case, self._options(case)[0]).modules[case.group.layer.kind]
        with torch.no_grad():
            assert torch.equal(module(input=case.inputs), module(case.inputs))

    def test_sizes_and_kept_features_agree(self, case: Case) -> None:
        for params in self._options(case):
            answer = self._compress(case, params)
            assert set(answer.modules) <= set(case.group.layer.roles)
            assert all(type(size) is int for size in answer.sizes.values())
            assert set(case.group.layer.edits.values()) <= set(answer.sizes) or not answer.kept, "a size is missing"
            for role, kept in answer.kept.items():
                columns = weight_of(case.group.modules[role]).shape[1]
                assert len(set(kept.tolist())) == len(kept) <= columns, f"{role}: kept features repeat"
                assert 0 <= int(kept.min()) <= int(kept.max()) < columns, f"{role}: kept features out of range"
                if is_linear(answer.modules[role]):
                    assert weight_of(answer.modules[role]).shape[1] == len(kept)

    def test_build_gives_the_same_structure(self, case: Case) -> None:
        for params in self._options(case):
            answer = self._compress(case, params)
            for built in (self.technique.build(case.group, params), self.technique.build(case.meta(), params)):
                assert checks.signature(built) == checks.signature(answer), f"{params}: state dicts differ"
                assert dict(built.sizes) == dict(answer.sizes)
                assert _sharing(built) == _sharing(answer)

    def test_state_loads_into_what_is_built(self, case: Case, tmp_path: Path) -> None:
        for number, params in enumerate(self._options(case)):
            answer = self._compress(case, params)
            expected = case.run(answer)
            tensors = checks.through_file(checks.state(answer), tmp_path / f"{number}.safetensors")
            plain, meta = self.technique.build(case.group, params), self.technique.build(case.meta(), params)
            checks.load_(plain, tensors)
            checks.load_(meta, tensors, assign=True)
            assert torch.equal(case.run(plain), expected), f"{params}: a reloaded layer gives other outputs"
            assert torch.equal(case.run(meta), expected), f"{params}: a layer rebuilt on meta gives other outputs"

    def test_survives_use_and_copying(self, case: Case) -> None:
        params = self._options(case)[0]
        answer = self._compress(case, params)
        before = {name: value.clone() for name, value in checks.state(answer).items()}
        with torch.inference_mode():
            first = case.run(answer)
            second = case.run(answer)
        assert torch.equal(first, second), "a second call gives other outputs"
        assert checks.equal(before, checks.state(answer)), "a call changed the state dict"
        twin = Replacement(deepcopy(dict(answer.modules)), answer.sizes, answer.kept)
        assert checks.equal(before, checks.state(twin))
        assert torch.equal(case.run(twin), first), "a deep copy gives other outputs"
        checks.load_(answer, before)
        assert torch.equal(case.run(answer), first), "loading its own state after use changes the outputs"

    def test_later_stages_can_follow(self, case: Case) -> None:
        """What it returns is dense linears, or modules around them, unless it is the last stage."""
        if self.technique.stage == Stage.QUANTIZE:
            return
        for params in self._options(case):
            answer = self._compress(case, params)
            rounded = {id(module): _coarse(module) for _, module in checks.distinct(answer)}
            modules = {role: rounded[id(module)] for role, module in answer.modules.items()}
            coarse = Replacement(modules, answer.sizes, answer.kept)
            assert checks.signature(coarse) == checks.signature(answer)
            output = case.run(coarse)
            assert checks.cosine(output, case.run(answer)) > 0.99, f"{params}: rounding its linears breaks it"

    def test_follows_earlier_stages(self, case: Case) -> None:
        """A linear that pruning has narrowed is not as ``layer.shapes`` says; the module counts."""
        if case.group.layer.kind != "linear" or self.technique.stage == Stage.STRUCTURE:
            return
        smaller = narrowed(case, weight_of(case.group.modules["linear"]).shape[1] // 2)
        for params in self._options(case):
            answer = self._compress(smaller, params)
            assert checks.signature(self.technique.build(smaller.group, params)) == checks.signature(answer)
            output = smaller.run(answer)
            assert output.shape == smaller.dense().shape
            assert bool(torch.isfinite(output).all())

    def test_refuses_unknown_values(self, case: Case) -> None:
        from autocompress.errors import TrialError

        for name in self._domain(case) or {}:
            wrong: dict[str, Value] = {**self._options(case)[0], name: "no-such-value"}
            with pytest.raises(TrialError):
                self.technique.compress(case.group, wrong, case.calibration)


def _sharing(replacement: Replacement) -> list[list[str]]:
    """Which roles share one module."""
    shared: dict[int, list[str]] = {}
    for role, module in replacement.modules.items():
        shared.setdefault(id(module), []).append(role)
    return sorted(shared.values())


def _coarse(module: nn.Module) -> nn.Module:
    """A copy whose dense linears are rounded to bfloat16 and back, as a later stage would replace them."""
    copy = deepcopy(module)
    found = list(leaves(copy))
    assert found, f"{type(module).__name__} holds no dense linear that a later stage could change"
    for name, linear in found:
        bias = getattr(linear, "bias", None)
        rounded = make_linear(weight_of(linear).bfloat16().float(), None if bias is None else bias.detach())
        if name == "":
            return rounded
        parent, _, child = name.rpartition(".")
        setattr(copy.get_submodule(parent), child, rounded)
    return copy
