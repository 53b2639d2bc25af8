"""Int8 linears, int8 rows and casts: numerics, kernels, life cycle."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest
import torch
from autocompress_quantization import kernels
from autocompress_quantization.cast import Cast
from autocompress_quantization.int8 import Int8
from autocompress_quantization.int8_embedding import Int8EmbeddingRows
from autocompress_quantization.int8_linear import Int8Linear, _tell_rounded
from autocompress_quantization.kernels import SAFE, Int8Kernel, int8_kernel, machine_flags, offered_dtypes, offers_int8
from autocompress_quantization.rounding import round_rows
from torch import Tensor, nn

from autocompress.cli.kernels import example_targets
from autocompress.contracts.linears import weight_of
from autocompress.contracts.technique import Group
from autocompress.core.layer import Layer, Role
from autocompress.core.target import Target
from autocompress.errors import TrialError
from autocompress.testing import checks
from autocompress.testing.groups import Case, all_cases

MODES = ["tensor", "token"]
KERNELS = [Int8Kernel("fbgemm", SAFE), Int8Kernel("onednn", SAFE), Int8Kernel("onednn", 127)]
"""Of a CPU without VNNI, the same weights in the other engine, and of a CPU with VNNI."""


@pytest.fixture(params=KERNELS, ids=lambda kernel: f"{kernel.engine}-{kernel.levels}")
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Int8Kernel:
    """Each kernel that this CPU can run exactly, whichever it would choose: weights of 8 bits need VNNI."""
    found: Int8Kernel = request.param
    if found.engine not in torch.backends.quantized.supported_engines:
        pytest.skip(f"this torch has no engine {found.engine}")
    if found.levels > SAFE and not machine_flags() & kernels.VNNI:
        pytest.skip("weights of 8 bits saturate without VNNI")
    monkeypatch.setattr(kernels, "kernel_here", lambda: found)
    return found


def _case(name: str = "linear") -> Case:
    return next(case for case in all_cases() if case.name == name)


def _int8(case: Case, activations: str = "tensor") -> Int8Linear:
    if kernels.kernel_here() is None:
        pytest.skip("this CPU has no int8 kernel in torch")
    module = Int8().compress(case.group, {"activations": activations}, {}).modules["linear"]
    assert isinstance(module, Int8Linear)
    return module


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", all_cases(("linear",)), ids=lambda case: case.name)
def test_int8_is_near_fp32(case: Case, mode: str) -> None:
    assert checks.cosine(_int8(case, mode)(case.inputs), case.dense()) > 0.9995


@pytest.mark.usefixtures("kernel")
def test_per_token_is_nearer_where_rows_differ_in_size() -> None:
    case = _case()
    inputs = case.inputs * torch.logspace(-2, 1, case.inputs.shape[1])[:, None]
    dense = case.group.modules["linear"](inputs)
    tensor, token = (checks.cosine(_int8(case, mode)(inputs)[:, 0], dense[:, 0]) for mode in MODES)
    assert token > 0.999 > tensor


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("mode", MODES)
def test_int8_equals_its_definition(mode: str) -> None:
    """The kernel multiplies the rounded weights; only the activations add an error, at most half a step each."""
    case = _case()
    module = _int8(case, mode)
    weight = module.weight.double() * module.scale[:, None]
    expected = case.inputs.double() @ weight.T + case.group.modules["linear"].get_parameter("bias")
    inputs = case.inputs
    span = (
        (inputs.max() - inputs.min().clamp_max(0)) / 255
        if mode == "tensor"
        else 2 * inputs.abs().amax(-1, keepdim=True) / 255
    )
    bound = weight.abs().sum(1) * span * 0.51
    assert bool(((module(inputs) - expected).abs() <= bound + 1e-5).all())


@pytest.mark.parametrize("mode", MODES)
def test_the_largest_products_do_not_saturate(mode: str, kernel: Int8Kernel) -> None:
    """Every activation and every weight at its largest: sums of pairs are the largest that there can be."""
    case = _case()
    linear = case.group.modules["linear"]
    signs = torch.tensor([1.0, -1.0]).repeat(weight_of(linear).shape[0] // 2)
    weight_of(linear).copy_(0.3 * signs[:, None].expand_as(weight_of(linear)))
    module = _int8(case, mode)
    assert int(module.weight.max()) == -int(module.weight.min()) == kernel.levels
    inputs = torch.full_like(case.inputs, 2.0)
    for value in (2.0, -2.0):
        inputs[0] = value
        torch.testing.assert_close(module(inputs), linear(inputs), rtol=0.01, atol=0.01)


def test_weights_of_8_bits_on_a_cpu_without_vnni_are_rounded_and_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An artifact made on a CPU with VNNI: it runs without saturation, one line says so, its state is as it was."""
    case = _case()
    linear = case.group.modules["linear"]
    weight_of(linear)[0] = 0.3
    case.inputs[0] = 2.0
    monkeypatch.setattr(kernels, "kernel_here", lambda: Int8Kernel("onednn", 127))
    modules = [_int8(case, mode) for mode in MODES]
    assert all(int(module.weight.max()) == 127 for module in modules)
    monkeypatch.setattr(kernels, "kernel_here", lambda: Int8Kernel("fbgemm", SAFE))
    _tell_rounded.cache_clear()
    for module in modules:
        before = {name: value.clone() for name, value in module.state_dict().items()}
        first = module(case.inputs)
        assert checks.cosine(first, linear(case.inputs)) > 0.9995
        torch.testing.assert_close(first[0, :, 0], linear(case.inputs)[0, :, 0], rtol=0.02, atol=0.02)
        assert checks.equal(before, module.state_dict())
        twin = copy.deepcopy(module)
        assert torch.equal(twin(case.inputs), first)
        module.load_state_dict({name: value.flip(0) for name, value in before.items()})
        assert torch.equal(module(case.inputs), first.flip(-1))
    assert len(caplog.records) == 1
    assert "came from a CPU with VNNI" in caplog.text


def test_weights_of_7_bits_run_as_they_are_on_every_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    case = _case()
    monkeypatch.setattr(kernels, "kernel_here", lambda: Int8Kernel("fbgemm", SAFE))
    module = _int8(case)
    twin = copy.deepcopy(module)
    monkeypatch.setattr(kernels, "kernel_here", lambda: Int8Kernel("onednn", 127))
    torch.testing.assert_close(twin(case.inputs), module(case.inputs), rtol=1e-3, atol=1e-3)
    assert torch.equal(twin.plain_weight(), module.plain_weight())


@pytest.mark.parametrize("mode", MODES)
def test_any_leading_dimensions_and_dtypes(mode: str) -> None:
    case = _case()
    module = _int8(case, mode)
    flat = case.inputs.reshape(-1, case.inputs.shape[-1])
    assert torch.equal(module(flat), module(case.inputs).reshape(len(flat), -1))
    assert module(flat[0]).shape == (module.out_features,)
    assert module(case.inputs.bfloat16()).dtype == torch.bfloat16
    assert torch.isfinite(module(torch.zeros_like(flat))).all()


def test_packing_restores_the_engine_and_is_silent() -> None:
    case, before = _case(), torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _int8(case)(case.inputs)
    assert torch.backends.quantized.engine == before
    broken = _int8(case)
    broken.scale = nn.Parameter(broken.scale[:3], requires_grad=False)
    with pytest.raises(RuntimeError):
        broken(case.inputs)
    assert torch.backends.quantized.engine == before


@pytest.mark.parametrize("grad", ["inference", "no_grad"])
def test_packing_drops_the_plain_copy_and_the_state_still_has_it(grad: str) -> None:
    case = _case()
    module = _int8(case)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.inference_mode() if grad == "inference" else torch.no_grad():
        first = module(case.inputs)
    assert module.weight.numel() == 0
    assert checks.equal(before, module.state_dict())
    module.load_state_dict({name: value.flip(0) for name, value in before.items()})
    assert torch.equal(module(case.inputs), first.flip(-1))


def test_copies_and_pickles_after_use() -> None:
    case = _case()
    module = _int8(case, "token")
    first = module(case.inputs)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):  # noqa: S301 our own bytes
        assert torch.equal(twin(case.inputs), first)
        assert twin._packed is not module._packed


def test_loads_onto_meta_by_assignment_in_a_parent() -> None:
    case = _case()
    module = nn.Sequential(_int8(case))
    first = module(case.inputs)
    built = nn.Sequential(Int8().build(case.meta(), {"activations": "tensor"}).modules["linear"])
    assert built[0].weight.is_meta
    built.load_state_dict(module.state_dict(), assign=True)
    assert torch.equal(built(case.inputs), first)


def test_another_device_fails_this_point_only() -> None:
    case = _case()
    with pytest.raises(TrialError, match="int8 linears run on the CPU only"):
        _int8(case)(case.inputs.to("meta"))
    with pytest.raises(TrialError, match="int8 linears run on the CPU only"):
        _int8(case).to("meta")(case.inputs)


def test_weights_that_are_not_numbers_fail_this_point_only() -> None:
    case = _case()
    case.group.modules["linear"].get_parameter("weight").data[0, 0] = torch.nan
    with pytest.raises(TrialError, match="NaN or infinity"):
        _int8(case)


def test_rounding_keeps_zero_rows_and_the_largest_entry() -> None:
    weight = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    weight[1] = 0
    values, scale = round_rows(weight)
    assert values.abs().amax(1).tolist() == [127, 0, 127, 127]
    assert float((values * scale[:, None] - weight).abs().max()) <= 0.5001 * float(scale.max())


def test_kernels_follow_the_flags() -> None:
    assert int8_kernel({"avx2", "avx512_vnni"}) == Int8Kernel("onednn", 127)
    assert int8_kernel({"avx2"}) == Int8Kernel("fbgemm", 64)
    assert int8_kernel({"neon"}) is None
    assert not offers_int8(example_targets()["cpu (plain)"])
    assert not offers_int8(Target(device="cuda"))
    assert offered_dtypes(Target(device="cuda")) == ("bfloat16", "float16")
    assert offered_dtypes(Target(fingerprint={"flags": ["avx2"]})) == ()
    assert offered_dtypes(Target(fingerprint={"flags": ["avx512_bf16"]})) == ("bfloat16",)


@pytest.mark.parametrize("limit", ["AVX2", "sse41", "AVX512_CORE"])
@pytest.mark.parametrize("variable", ["DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"])
def test_a_limit_of_onednn_chooses_as_a_cpu_without_vnni(
    variable: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"avx2": True, "avx512_vnni": True, "amx_int8": True, "avx512_bf16": True, "l1d_cache_size": 32768}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    for name in ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    assert kernels.kernel_here() == Int8Kernel("onednn", 127)
    assert offered_dtypes(Target()) == ("bfloat16",)
    monkeypatch.setenv(variable, limit)
    assert kernels.kernel_here() == Int8Kernel("fbgemm", 64)
    assert offered_dtypes(Target()) == ()
    monkeypatch.setenv(variable, "AVX512_CORE_VNNI")
    assert kernels.kernel_here() == Int8Kernel("onednn", 127)
    assert offered_dtypes(Target()) == ()


def test_tied_and_noted_linears_are_left_alone() -> None:
    layer, target = _case().group.layer, Target(fingerprint={"flags": ["avx512_vnni", "avx512_bf16"]})
    tied = Layer.from_json({**layer.to_json(), "tied": ["embedding"]})
    noted = Layer.from_json({**layer.to_json(), "note": "its weights are shared with embedding"})
    for technique in (Int8(), Cast()):
        assert technique.domain(layer, target) is not None
        assert technique.domain(tied, target) is None
        assert technique.domain(noted, target) is None


def test_embedding_rows_keep_padding_and_scale() -> None:
    class Scaled(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 8.0

    class Shifted(nn.Embedding):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1.0

    layer = Layer("e", "embedding", "e", {"embedding": Role("e", 0, 50)}, {"embedding": (50, 64)}, 3200)
    scaled = Scaled(50, 64, padding_idx=0).requires_grad_(False)
    module = Int8EmbeddingRows().compress(Group(layer, {"embedding": scaled}), {}, {}).modules["embedding"]
    ids = torch.arange(50)
    assert checks.cosine(module(ids), scaled(ids)) > 0.9999
    assert float((module(ids) - scaled(ids)).abs().max()) < 8 * float(scaled.weight.abs().max()) / 127
    assert module.padding_idx == 0
    assert not module(torch.tensor([0])).any()
    with pytest.raises(TrialError, match="does more than scale its rows"):
        Int8EmbeddingRows().compress(Group(layer, {"embedding": Shifted(50, 64)}), {}, {})


def test_cast_refuses_weights_that_overflow() -> None:
    case = _case()
    weight_of(case.group.modules["linear"])[0, 0] = 1e6
    assert Cast().compress(case.group, {"dtype": "bfloat16"}, {}).modules["linear"].weight.dtype == torch.bfloat16
    with pytest.raises(TrialError, match="do not fit into float16"):
        Cast().compress(case.group, {"dtype": "float16"}, {})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_int8_on_a_gpu_is_one_clear_line_and_casts_run() -> None:
    case = _case()
    with pytest.raises(TrialError, match="int8 linears run on the CPU only"):
        _int8(case).to("cuda")(case.inputs.cuda())
    for dtype in ("bfloat16", "float16"):
        module = Cast().compress(case.group, {"dtype": dtype}, {}).modules["linear"].cuda()
        output = module(case.inputs.cuda())
        assert output.dtype == torch.float32
        assert checks.cosine(output.cpu(), case.dense()) > 0.9999
