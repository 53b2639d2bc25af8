"""`Int8Linear`: int8 weights, 8-bit activations measured on the fly, and the CPU's own integer kernel."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.plugin import Precision, QuantizedLinear, TrialError
from autocompress_quantization import kernels
from autocompress_quantization.kernels import TENSOR, TOKEN
from autocompress_quantization.rounding import round_rows

logger = logging.getLogger(__name__)


class Int8Linear(nn.Module):
    """``y = x Wᵀ + b`` with W in int8, one scale an output row; x is quantised to 8 bits at each call.

    State: ``weight`` int8 (out_features, in_features), ``scale`` fp32 (out_features,), ``bias`` fp32 or absent. The
    scale is a parameter, so that a model that asks its parameters for their dtype gets one. The first call packs the
    weights for the kernel and drops the plain copy; the state dict still yields it. Weights that this CPU's kernel
    would saturate on (made where it takes 8 bits) are packed in fewer steps; the copy stays.

    activations  ``tensor``: one range for all of x. ``token``: each row is divided by its largest entry first.
    """

    weight: Tensor
    scale: nn.Parameter
    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool,
        activations: str = TENSOR,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.activations = in_features, out_features, activations
        self.register_buffer("weight", torch.empty(out_features, in_features, dtype=torch.int8, device=device))
        self.scale = nn.Parameter(torch.empty(out_features, device=device), requires_grad=False)
        self.register_buffer("bias", torch.empty(out_features, device=device) if bias else None)
        self._packed: Any = None

    def forward(self, input: Tensor) -> Tensor:
        """input: (..., in_features), any floating dtype. Returns (..., out_features) in the dtype of input."""
        if input.device.type != "cpu":
            device = input.device
            raise TrialError(f"int8 linears run on the CPU only; the input is on {device}. Search with --device cpu.")
        if self._packed is None:
            self._pack()
        inputs = input.float()
        if self.activations == TENSOR:
            return self._product(inputs).to(input.dtype)
        peak = inputs.abs().amax(-1, keepdim=True).clamp_min(1e-12)
        result = self._product(inputs / peak)
        return (result * peak if self.bias is None else torch.addcmul(self.bias, result, peak)).to(input.dtype)

    def _product(self, inputs: Tensor) -> Tensor:
        if inputs.ndim == 1:  # the kernel wants rows
            return self._product(inputs[None])[0]
        result: Tensor = torch.ops.quantized.linear_dynamic(inputs, self._packed, False)
        return result

    def _pack(self) -> None:
        kernel = kernels.kernel_here()
        if kernel is None:
            raise TrialError("this CPU has no int8 kernel in torch (it needs AVX2 or VNNI); search without int8.")
        if self.scale.device.type != "cpu":
            raise TrialError(f"int8 linears run on the CPU only; this one is on {self.scale.device}.")
        weight, scale = self.weight, self.scale.detach()
        saturates = max(int(weight.max()), -int(weight.min())) > kernel.levels
        if saturates:
            _tell_rounded(kernel.levels)
            weight, scale = round_rows(weight * scale[:, None], kernel.levels)
        zeros = torch.zeros(self.out_features, dtype=torch.int64)
        with warnings.catch_warnings():
            # torch deprecates its quantized tensors; the packed kernels take nothing else yet.
            warnings.filterwarnings("ignore", message=".*quantized tensor", category=UserWarning)
            values = torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
        # Per token, the bias comes after the rows are scaled back.
        bias = None if self.bias is None or self.activations == TOKEN else self.bias.float()
        with _engine(kernel.engine):
            self._packed = torch.ops.quantized.linear_prepack(values, bias)
        if not saturates:
            self._buffers["weight"] = self.weight.new_empty(0)

    def plain_weight(self) -> Tensor:
        """(out_features, in_features) int8, also after packing."""
        if self._packed is None or self.weight.numel():
            return self.weight
        values: Tensor = torch.ops.quantized.linear_unpack(self._packed)[0].int_repr()
        return values

    def quantized(self) -> QuantizedLinear:
        """What it is, for runtimes with kernels of their own."""
        precision = Precision("int8", "row", self.activations)
        return QuantizedLinear(precision, self.plain_weight(), self.scale.detach(), self.bias)

    def _unpack_(self) -> None:
        self._buffers["weight"] = self.plain_weight()
        self._packed = None

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = self.plain_weight()

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        if self._packed is not None:
            self._unpack_()  # gives the plain weight its shape again, and packs anew from what is loaded
        super()._load_from_state_dict(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles carry the plain weight; each copy packs for itself."""
        state = dict(self.__dict__)
        state["_buffers"] = {**self._buffers, "weight": self.plain_weight()}
        state["_packed"] = None
        return state

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, activations={self.activations}"


@cache
def _tell_rounded(levels: int) -> None:
    """Once a process."""
    logger.warning(
        "int8 weights of 8 bits came from a CPU with VNNI; this one would saturate on them, so they run rounded to %d "
        "steps a side. Their file is as it was; compress on this CPU to have its outputs measured.",
        levels,
    )


@contextmanager
def _engine(name: str) -> Iterator[None]:
    """Pack with this engine; the process-wide setting comes back also after an error."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
