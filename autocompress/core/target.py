"""Where and how the model will run; every figure belongs to one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """One device, runtime and input shape.

    device       ``cpu`` or ``cuda``.
    runtime      the name of the runtime plugin that is timed.
    batch        rows per call.   sequence   tokens per row (0 for a model without tokens).
    threads      intra-operation threads on a CPU.
    fingerprint  hardware, instruction-set flags and library versions, as ``measure.machine`` reads them;
                 ``fingerprint["flags"]`` lists what kernels care about (``avx512_vnni``, ``amx_int8``, ...).
    """

    device: str = "cpu"
    runtime: str = "torch"
    batch: int = 1
    sequence: int = 128
    threads: int = 1
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Target:
        return cls(**data)

    @property
    def flags(self) -> frozenset[str]:
        """Instruction-set flags of a CPU, or the capabilities of a GPU."""
        return frozenset(self.fingerprint.get("flags", ()))
