"""Policies made real: techniques applied to modules, structure rebuilt for loading, calibration statistics."""

from autocompress.compress.apply import (
    Changes,
    apply_policy,
    build_layers,
    build_policy_,
    check_policy,
    compress_layers,
)
from autocompress.compress.statistics import LazyStatistics, StatisticsStore, collect_statistics
from autocompress.compress.workbench import Workbench, parts, share

__all__ = [
    "Changes",
    "LazyStatistics",
    "StatisticsStore",
    "Workbench",
    "apply_policy",
    "build_layers",
    "build_policy_",
    "check_policy",
    "collect_statistics",
    "compress_layers",
    "parts",
    "share",
]
