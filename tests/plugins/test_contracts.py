"""The built-in techniques and the built-in runtime keep the public contract."""

from __future__ import annotations

import pytest
from autocompress_lowrank.svd import Svd
from autocompress_pruning.heads import AttentionHeads
from autocompress_pruning.neurons import FfnNeurons
from autocompress_quantization.cast import Cast
from autocompress_quantization.int8 import Int8
from autocompress_quantization.int8_embedding import Int8EmbeddingRows
from autocompress_quantization.kernels import kernel_here
from autocompress_torch.eager import TorchRuntime

from autocompress.core.target import Target
from autocompress.testing import RuntimeContract, TechniqueContract


class TestFfnNeurons(TechniqueContract):
    technique = FfnNeurons()


class TestAttentionHeads(TechniqueContract):
    technique = AttentionHeads()
    least_cosine = 0.7  # three heads of four


class TestSvd(TechniqueContract):
    technique = Svd()


@pytest.mark.skipif(kernel_here() is None, reason="this CPU has no int8 kernel in torch")
class TestInt8(TechniqueContract):
    technique = Int8()
    least_cosine = 0.999


class TestInt8EmbeddingRows(TechniqueContract):
    technique = Int8EmbeddingRows()
    least_cosine = 0.999


class TestCastOnCpu(TechniqueContract):
    technique = Cast()
    target = Target(fingerprint={"flags": ["amx_bf16"]})
    least_cosine = 0.999


class TestCastOnCuda(TechniqueContract):
    technique = Cast()
    target = Target(device="cuda")
    least_cosine = 0.999


class TestTorchRuntime(RuntimeContract):
    runtime = TorchRuntime()
