"""The linear that reads the pruned units: its moment, the order of removal, and its reconstruction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autocompress.plugin import Calibration, Statistics, TrialError, bias_of, make_linear, weight_of

if TYPE_CHECKING:
    from torch import Tensor, nn


def statistics_of(calibration: Calibration, role: str, linear: nn.Module) -> Statistics:
    """What calibration saw at this role's input, on the linear's device. Raises TrialError when it is of no use."""
    import torch

    found, weight = calibration.get(role), weight_of(linear)
    if found is None:
        raise TrialError(f"pruning needs calibration statistics of the role {role!r}; none were collected.")
    if len(found.mean) != weight.shape[1]:
        raise TrialError(f"statistics of {role!r} have {len(found.mean)} features; its linear reads {weight.shape[1]}.")
    if not bool(torch.isfinite(found.covariance).all()):
        raise TrialError(f"statistics of {role!r} hold NaN or infinity; check the calibration data.")
    return Statistics(found.covariance.to(weight.device), found.mean.to(weight.device), found.count)


def moment_of(linear: nn.Module, statistics: Statistics) -> Tensor:
    """The covariance where a bias can carry the mean of what is lost; else the plain second moment."""
    return statistics.second if bias_of(linear) is None else statistics.covariance


def reconstructed(linear: nn.Module, statistics: Statistics, kept: Tensor) -> nn.Module:
    """The linear on the kept input features only, re-solved by least squares; its bias takes the lost mean."""
    from autocompress_pruning.surgeon import reconstruct

    weight, bias = weight_of(linear), bias_of(linear)
    solved = reconstruct(weight, moment_of(linear, statistics), kept)
    if bias is not None:
        mean = statistics.mean.double()
        bias = (bias.double() + weight.double() @ mean - solved @ mean[kept]).to(bias.dtype)
    return make_linear(solved.to(weight.dtype), bias)
