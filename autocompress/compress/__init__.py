"""Policies made real: techniques applied to modules, structure rebuilt for loading, calibration statistics."""

from autocompress.compress.apply import Changes, apply_policy, build_policy_, check_policy, compress_layers
from autocompress.compress.statistics import StatisticsStore, collect_statistics

__all__ = [
    "Changes",
    "StatisticsStore",
    "apply_policy",
    "build_policy_",
    "check_policy",
    "collect_statistics",
    "compress_layers",
]
