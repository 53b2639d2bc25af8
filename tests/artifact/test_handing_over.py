"""A model that was passed in reaches the measuring process as it is, or one line says why it cannot."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading

import pytest
import torch
from torch import Tensor, nn

from autocompress.errors import ModelError
from autocompress.sessions.parent import _pickled

READ = "import pickle, sys, torch; print(pickle.load(sys.stdin.buffer)(torch.ones(1, 4, 4)).sum().item())"


def built() -> nn.Module:
    torch.manual_seed(0)
    norm = nn.utils.parametrizations.weight_norm
    twice = nn.utils.parametrizations.spectral_norm(norm(nn.Linear(4, 4)))
    return nn.Sequential(norm(nn.Conv1d(4, 4, 3, padding=1)), twice, nn.Linear(4, 2)).eval()


def test_parametrized_modules_arrive_parametrized() -> None:
    model, x = built(), torch.ones(1, 4, 4)
    again = pickle.loads(_pickled(model))  # noqa: S301  (our own bytes)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert any("parametrizations" in name for name in again.state_dict())
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
        again[0].parametrizations.weight.original0.mul_(2)
        assert not torch.equal(again(x), model(x)), "the weight is computed, not a copy"


def test_they_arrive_in_another_process() -> None:
    model = built()
    done = subprocess.run([sys.executable, "-c", READ], input=_pickled(model), capture_output=True, check=True)
    assert float(done.stdout) == pytest.approx(float(model(torch.ones(1, 4, 4)).detach().sum()))


def test_what_cannot_be_handed_over_is_one_line() -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

        def forward(self, x: Tensor) -> Tensor:
            return x

    with pytest.raises(
        ModelError, match=r"a Holds cannot be handed to the process that measures it \(TypeError: "
    ) as e:
        _pickled(Holds())
    assert "\n" not in str(e.value)
