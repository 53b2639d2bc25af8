"""Mean and covariance of every linear's input: collected in one pass over the calibration data, shared by techniques.

Everything is summed in double about the mean, and batches are merged pairwise: subtracting two large sums from each
other would leave covariances with negative eigenvalues where the mean is large or the features are nearly dependent.
Source of the merge: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances" (1979).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.contracts.evaluator import Batch
from autocompress.contracts.linears import bias_of, is_linear, weight_of
from autocompress.contracts.technique import Statistics
from autocompress.structure.nested import main_input
from autocompress.structure.trace import call

StatisticsStore = Mapping[str, Statistics]
"""Linear name to the statistics of its input."""

BLOCK = 2**23
"""Numbers that are held in double at a time: memory does not grow with the rows of a batch."""


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


class _Moments:
    """Count, mean and centred sum of products of rows, in double. The state is of one size whatever the rows."""

    def __init__(self, features: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(features, dtype=torch.float64, device=device)
        self.products = torch.zeros(features, features, dtype=torch.float64, device=device)

    def add_rows(self, rows: Tensor) -> None:
        """rows: (rows, features), any floating dtype."""
        for block in torch.split(rows, max(1, BLOCK // rows.shape[1])):
            values = block.double()
            mean = values.mean(0)
            values -= mean
            self._shift_(mean, len(block))
            self.products.addmm_(values.T, values)

    def add(self, other: _Moments) -> None:
        self._shift_(other.mean, other.count)
        self.products += other.products

    def _shift_(self, mean: Tensor, count: int) -> None:
        """Take in ``count`` rows with this mean; their products about it are for the caller to add."""
        if count == 0:
            return
        total, away = self.count + count, mean - self.mean
        self.products.addr_(away, away, alpha=self.count * count / total)
        self.mean += away * (count / total)
        self.count = total

    def statistics(self) -> Statistics:
        self.products /= self.count
        return Statistics(self.products, self.mean, self.count)


def collect_statistics(model: nn.Module, names: Sequence[str], batches: Sequence[Batch]) -> dict[str, Statistics]:
    """Statistics of the inputs of the linears ``names``; padding (``attention_mask`` 0) is not counted.

    Linears that read the same tensor (q, k and v; gate and up) share one computation. Those that never ran are absent.
    """
    sums: dict[str, _Moments] = {}
    seen: dict[tuple[Any, ...], tuple[Tensor, _Moments]] = {}
    mask: Tensor | None = None

    def hook(name: str) -> Any:
        def pre_hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            x = main_input(args, kwargs)
            if x is None or not x.numel():  # an expert that no row is sent to
                return
            # torch's encoder packs rows of different lengths into one nested tensor, which has no shape.
            key = (id(x),) if x.is_nested else (x.data_ptr(), x._version, x.shape, x.stride())
            if key not in seen:
                seen[key] = (x, _moments(x, mask))  # x is kept so that its address is not used again
            found = seen[key][1]
            if name not in sums:
                sums[name] = _Moments(len(found.mean), x.device)
            sums[name].add(found)

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
    return {name: total.statistics() for name, total in sums.items() if total.count}


def _moments(x: Tensor, mask: Tensor | None) -> _Moments:
    rows = torch.cat(x.unbind()) if x.is_nested else x.reshape(-1, x.shape[-1])
    if not x.is_nested and mask is not None and mask.ndim == 2 and x.shape[:-1] == mask.shape:
        rows = rows[mask.reshape(-1).bool()]
    found = _Moments(rows.shape[1], rows.device)
    found.add_rows(rows)
    return found


def push(statistics: Statistics, linear: nn.Module) -> Statistics:
    """The statistics of a linear's output, from those of its input."""
    weight, bias = weight_of(linear).double(), bias_of(linear)
    mean = weight @ statistics.mean.double()
    covariance = weight @ statistics.covariance.double() @ weight.T
    return Statistics(covariance, mean if bias is None else mean + bias.double(), statistics.count)
