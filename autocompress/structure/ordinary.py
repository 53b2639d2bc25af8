"""Whether a layer computes what its kind computes, so that another module can stand in for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.contracts.linears import bias_of, is_linear, weight_of
from autocompress.structure.nested import main_input


def oddity(module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> str:
    """ "" for an ordinary layer, else in words what it does instead, judged by one of its calls.

    A linear gives ``x W' + b``; an embedding gives, times one factor, a row for every whole number that it is called
    with. Only classes with a ``forward`` of their own are looked at.
    """
    if is_linear(module):
        plain = type(module).forward is nn.Linear.forward and "forward" not in vars(module)
        return "" if plain else _odd_linear(module, main_input(args, kwargs), output)
    if isinstance(module, nn.Embedding) and type(module).forward is not nn.Embedding.forward:
        return _odd_embedding(module, args, kwargs, output)
    return ""


def _odd_linear(module: nn.Module, x: Tensor | None, output: Any) -> str:
    name = type(module).__name__
    if not isinstance(output, Tensor):
        return f"its class {name} returns a {type(output).__name__}, where a linear returns a tensor"
    weight, bias = weight_of(module), bias_of(module)
    fits = x is not None and x.shape[-1] == weight.shape[1] and output.shape == (*x.shape[:-1], weight.shape[0])
    if fits and x is not None and weight.is_floating_point():
        with torch.no_grad():
            expected = nn.functional.linear(x.to(weight.dtype), weight, bias).to(output.dtype)
            if torch.allclose(output, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max())):
                return ""
    return f"its class {name} computes something else than a linear does"


def _odd_embedding(module: nn.Embedding, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> str:
    name, given = type(module).__name__, [*args, *kwargs.values()]
    ids = given[0] if len(given) == 1 and isinstance(given[0], Tensor) else None
    if ids is None or ids.is_floating_point() or int(ids.max()) >= module.num_embeddings:
        return f"its class {name} computes the index of its rows itself"
    with torch.no_grad():
        rows = module.weight[ids].to(torch.float64)
        if isinstance(output, Tensor) and output.shape == rows.shape:
            answer = output.to(rows.dtype)
            factor = (rows * answer).sum() / rows.square().sum().clamp_min(1e-300)
            if torch.allclose(rows * factor, answer, rtol=1e-2, atol=1e-6):
                return ""
    return f"its class {name} does more than look rows up and scale them"
