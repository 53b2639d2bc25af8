"""Second moments of every linear's input: collected in one pass over the calibration data, shared by all techniques."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.evaluator import Batch
from autocompress.linears import bias_of, is_linear, weight_of
from autocompress.nested import main_input
from autocompress.structure.trace import call
from autocompress.technique import Statistics

StatisticsStore = Mapping[str, Statistics]
"""Linear name to the statistics of its input."""


class LazyStatistics(Mapping[str, Statistics]):
    """Statistics that are collected when the first technique asks for them: some policies need none."""

    def __init__(self, collect: Callable[[], StatisticsStore]) -> None:
        self._collect = collect
        self._found: StatisticsStore | None = None

    def _all(self) -> StatisticsStore:
        if self._found is None:
            self._found = self._collect()
        return self._found

    def __getitem__(self, name: str) -> Statistics:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _Sum:
    """Running sums of x and x xᵀ over rows."""

    def __init__(self) -> None:
        self.second: Tensor | None = None
        self.mean: Tensor | None = None
        self.count = 0

    def add(self, second: Tensor, mean: Tensor, count: int) -> None:
        self.second = second if self.second is None else self.second + second
        self.mean = mean if self.mean is None else self.mean + mean
        self.count += count

    def statistics(self) -> Statistics:
        assert self.second is not None
        assert self.mean is not None
        return Statistics(self.second / self.count, self.mean / self.count, self.count)


def collect_statistics(model: nn.Module, names: Sequence[str], batches: Sequence[Batch]) -> dict[str, Statistics]:
    """Statistics of the inputs of the linears ``names``; padding (``attention_mask`` 0) is not counted.

    Linears that read the same tensor (q, k and v; gate and up) share one computation and one result.
    """
    sums: dict[str, _Sum] = {}
    seen: dict[tuple[int, int], tuple[Tensor, tuple[Tensor, Tensor, int]]] = {}
    mask: Tensor | None = None

    def hook(name: str) -> Any:
        def pre_hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = main_input(args, kwargs)
            if x is None or not x.numel():  # an expert that no row is sent to
                return
            key = (x.data_ptr(), x._version)
            if key not in seen or seen[key][0].shape != x.shape:
                seen[key] = (x, _moments(x, mask))  # x is kept so that its address is not used again
            sums.setdefault(name, _Sum()).add(*seen[key][1])

        return pre_hook

    handles = []
    for name in names:
        module = model.get_submodule(name)
        if is_linear(module):
            handles.append(module.register_forward_pre_hook(hook(name), with_kwargs=True))
    try:
        with torch.inference_mode(False), torch.no_grad():
            for batch in batches:
                mask = batch.get("attention_mask")
                call(model, batch)
                seen.clear()
    finally:
        for handle in handles:
            handle.remove()
    return {name: total.statistics() for name, total in sums.items()}


def _moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, int]:
    rows = x.reshape(-1, x.shape[-1])
    if mask is not None and mask.ndim == 2 and x.shape[:-1] == mask.shape:
        rows = rows[mask.reshape(-1).bool()]
    rows = rows.float()
    return rows.T @ rows, rows.sum(0), len(rows)


def push(statistics: Statistics, linear: nn.Module) -> Statistics:
    """The statistics of a linear's output, from those of its input."""
    weight, bias = weight_of(linear).float(), bias_of(linear)
    mean = weight @ statistics.mean
    second = weight @ statistics.second @ weight.T
    if bias is not None:
        second = second + mean[:, None] * bias[None] + bias[:, None] * mean[None] + bias[:, None] * bias[None]
        mean = mean + bias
    return Statistics(second, mean, statistics.count)
