"""The ONNX Runtime runtime keeps the public contract, and runs int8 linears of any technique by its own kernels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from autocompress_onnxruntime.outputs import Outputs, form_of, rebuilt
from autocompress_onnxruntime.runtime import FILE, OnnxRuntime
from torch import nn

from autocompress.compress import apply_policy
from autocompress.core.policy import LayerPolicy, Policy, Step
from autocompress.core.target import Target
from autocompress.errors import UsageError
from autocompress.plugin import registry as plugins
from autocompress.plugin.registry import load_registry, missing
from autocompress.request.names import check_names
from autocompress.request.request import SearchRequest
from autocompress.space.binding import Rule, SearchSpace, bind
from autocompress.structure import find_layers
from autocompress.structure.nested import tensors
from autocompress.testing import RuntimeContract

LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
installed = pytest.mark.skipif(bool(missing(LIBRARIES)), reason=missing(LIBRARIES))


@installed
class TestOnnxRuntime(RuntimeContract):
    runtime = OnnxRuntime()


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 16)).eval().requires_grad_(False)


def test_without_the_library_it_is_listed_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins.importlib.util, "find_spec", lambda name: None if name in LIBRARIES else object())
    runtime = load_registry().runtimes["onnxruntime"]
    assert missing(runtime.requires) == "pip install onnx onnxruntime onnxscript"
    request = SearchRequest(model=model(), budgets=("50%",), runtime="onnxruntime")
    with pytest.raises(UsageError, match=r"'onnxruntime' is not installed; run: pip install onnx onnxruntime"):
        check_names(request)


def test_core_offers_what_both_sides_have() -> None:
    x = torch.randn(4, 32)
    rules = (Rule("*", "int8", "linear"), Rule("*", "cast", "linear"))
    layers, target = (
        find_layers(model(), {"input": x}),
        Target(runtime="onnxruntime", fingerprint={"flags": ["avx2", "avx512_vnni", "avx512_bf16"]}),
    )
    binding = bind(SearchSpace("mine", rules), layers, load_registry(), target)
    offered = {step.label() for slot in binding.slots for option in slot.options for step in option.steps}
    assert offered == {"int8(activations=tensor)", "int8(activations=token)"}
    said = [why for where, why in binding.dropped.items() if where.startswith("cast")]
    assert said[0] == "runtime 'onnxruntime' has no kernel for bfloat16 weights on cpu"
    eager = bind(SearchSpace("mine", rules), layers, load_registry(), Target(fingerprint=target.fingerprint))
    assert "cast(dtype=bfloat16)" in {step.label() for slot in eager.slots for o in slot.options for step in o.steps}


@installed
@pytest.mark.parametrize("activations", ["tensor", "token"])
def test_int8_of_the_policys_layers_becomes_its_own_operators(activations: str, tmp_path: Path) -> None:
    import onnx

    dense, registry, x = model(), load_registry(), torch.randn(8, 32)
    layers = find_layers(dense, {"input": x})
    policy = Policy({"0": LayerPolicy((Step("int8", {"activations": activations}),))})
    small = apply_policy(dense, policy, layers, registry, {})
    runtime = OnnxRuntime()
    program = runtime.lower(small, policy, {"input": x}, target=Target(threads=1))
    runtime.save(program, tmp_path)
    graph = onnx.load(tmp_path / FILE).graph
    found = Counter(node.op_type for node in graph.node)
    assert (found["MatMulInteger"], found["DynamicQuantizeLinear"], found["Gemm"] + found["MatMul"]) == (1, 1, 1)
    sizes = {one.data_type: one for one in graph.initializer if list(one.dims) == [32, 64]}
    assert list(sizes) == [onnx.TensorProto.INT8], "the layer's weights are in the file as int8, once"
    assert torch.cosine_similarity(program({"input": x}), dense(x)).mean() > 0.999


def test_outputs_keep_their_form_through_json() -> None:
    one, two = torch.ones(1), torch.zeros(2)
    value = {"first": one, "more": (two, None, {"inner": one})}
    again = rebuilt(form_of(value), list(tensors(value)))
    assert isinstance(again, Outputs)
    assert again.first is again["first"] is again[0] is one
    assert again.more[0] is two
    assert again.more[1] is None
    assert again.more[2].inner is one
