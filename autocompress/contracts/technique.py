"""The contract of a compression technique: data plus three functions.

A technique sees a `Group`: the modules of one layer by role, whatever model they came from. It answers with a
`Replacement`: new modules by role. It never edits a module that it was given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

from autocompress.contracts.precision import Precision
from autocompress.core.domain import Domain, Value
from autocompress.core.layer import Layer
from autocompress.core.target import Target

if TYPE_CHECKING:
    from torch import Tensor, nn


class Stage(IntEnum):
    """The order in which techniques compose on one layer; at most one technique a stage and layer."""

    STRUCTURE = 1
    FACTORIZE = 2
    SPARSIFY = 3
    QUANTIZE = 4


@dataclass(frozen=True)
class Statistics:
    """What calibration saw at the input of one linear, over ``count`` rows (tokens).

    covariance: (in_features, in_features), the mean of (x - mean) (x - mean)ᵀ.   mean: (in_features,), the mean of x.
    Both are double and accumulated about the mean: no eigenvalue of the covariance is below rounding of double.
    """

    covariance: Tensor
    mean: Tensor
    count: int

    @property
    def second(self) -> Tensor:
        """(in_features, in_features): the mean of x xᵀ."""
        return self.covariance + self.mean[:, None] * self.mean[None, :]

    def keep(self, features: Tensor) -> Statistics:
        """The statistics of the kept input features (indices)."""
        return Statistics(self.covariance[features][:, features], self.mean[features], self.count)


Calibration = Mapping[str, Statistics]
"""Role to the statistics of its input. Collected once on the dense model and shared by all techniques."""


@dataclass(frozen=True)
class Group:
    """One layer's modules by role. A single linear is a group of one, with the role ``linear``.

    Roles that share one fused module map to the same object; ``layer.roles[role]`` says which rows are whose.
    """

    layer: Layer
    modules: Mapping[str, nn.Module]


@dataclass(frozen=True)
class Replacement:
    """New modules by role (a role that is left out keeps its module), and what the group counts now.

    sizes    the new ``layer.sizes`` (heads, width, ...); core writes them to the attributes in ``layer.edits``.
    kept     role to the indices of the input features that the role still reads, when they became fewer.
    """

    modules: Mapping[str, nn.Module]
    sizes: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)


class Technique(ABC):
    """One way to make a layer smaller or faster.

    name               unique among all installed plugins, lower case with dashes.
    stage              where it composes; see `Stage`.
    kinds              the layer kinds it may apply to.
    requires           libraries that must be importable, as pip requirement names; absent: choices unavailable.
    needs_calibration  whether ``compress`` needs the statistics of the group's inputs.
    references         sources of the method, such as ``arXiv:2306.11695``.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    kinds: ClassVar[tuple[str, ...]]
    requires: ClassVar[tuple[str, ...]] = ()
    needs_calibration: ClassVar[bool] = False
    references: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def domain(self, layer: Layer, target: Target) -> Mapping[str, Domain] | None:
        """Parameter name to domain for this layer; {} means one way without parameters, None means not for me.

        Only what has a real kernel on this target may be offered.
        """

    def precision(self, params: Mapping[str, Value]) -> Precision | None:
        """The precision of what these parameters give, if it is fast or small only where a kernel for it is.

        Only what the target's runtime has one for is offered. Modules of integers are `Quantized`, so that the runtime
        can put it there. None: plain torch, which every runtime takes.
        """
        del params
        return None

    @abstractmethod
    def compress(self, group: Group, params: Mapping[str, Value], calibration: Calibration) -> Replacement:
        """New modules with real weights. Deterministic. Raises TrialError when this point cannot be built."""

    @abstractmethod
    def build(self, group: Group, params: Mapping[str, Value]) -> Replacement:
        """The structure that ``compress`` gives, without looking at weights (they may be on the meta device).

        The state dict of what is built has the names, shapes and dtypes of what ``compress`` returned.
        """
