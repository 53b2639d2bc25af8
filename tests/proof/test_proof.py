"""What hangs, dies or changes the dense model in its first run is refused with its cause, and the rest goes on."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from autocompress.basics import patience
from autocompress.basics.patience import TookTooLongError, ended_after
from autocompress.compress.untouched import ChangedError, untouched
from autocompress.core.layer import Layer, Role
from autocompress.core.policy import LayerPolicy, Step
from autocompress.errors import TrialError
from autocompress.proof import proof as proofs
from autocompress.proof.proof import Case, Proof, cases_of, prove
from autocompress.space.binding import Binding, Slot

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="options are proven in forks, on Linux")


def layer(fqn: str, rows: int, kind: str = "linear") -> Layer:
    return Layer(fqn, kind, fqn, {kind: Role(fqn, 0, rows)}, {kind: (rows, 4)}, rows * 4)


SMALL, LARGE, TWIN = layer("small", 8), layer("large", 16), layer("twin", 16)
OPTIONS = (Step("bad", {"level": 1}), Step("bad", {"level": 2}), Step("good"))
CASES: list[Case] = [(at, step) for at in (SMALL, LARGE, TWIN) for step in OPTIONS]


def tried(run: Callable[[Layer, Step], None], cases: list[Case] = CASES) -> tuple[Proof, list[str]]:
    told: list[str] = []
    return prove(cases, run, told.append), told


def test_each_option_and_each_shape_runs_once() -> None:
    proof, told = tried(lambda _at, _step: None)
    assert proof.refused == {}
    assert told == [
        "bad(level=1) on small",
        "bad(level=2) on small",
        "good on small",
        "bad(level=1) on large",
        "good on large",
    ]


@pytest.mark.parametrize(
    ("fault", "how"),
    [
        (lambda: os._exit(0), "exit code 0"),
        (lambda: os._exit(7), "exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (os.abort, "SIGABRT"),
    ],
)
def test_an_option_that_ends_its_process_is_refused_and_the_others_go_on(fault: Callable[[], None], how: str) -> None:
    def run(_at: Layer, step: Step) -> None:
        if step.params.get("level") == 2:
            fault()

    proof, _ = tried(run)
    assert "bad(level=2) on 'small' ended the process that tried it" in proof.cause(TWIN, OPTIONS[1])
    assert how in proof.cause(SMALL, OPTIONS[1])
    assert not any(proof.cause(at, step) for at in (SMALL, LARGE) for step in (OPTIONS[0], OPTIONS[2]))


def test_a_shape_that_kills_a_known_option_is_refused_to_that_technique() -> None:
    def run(at: Layer, step: Step) -> None:
        if at.n_params > 32 and step.technique == "bad":
            os._exit(1)

    proof, _ = tried(run)
    assert all(proof.cause(at, step) for at in (LARGE, TWIN) for step in OPTIONS[:2])
    assert not any(proof.cause(SMALL, step) for step in OPTIONS)
    assert not proof.cause(LARGE, OPTIONS[2])


def test_a_technique_that_keeps_dying_is_not_tried_for_ever() -> None:
    many = [(SMALL, Step("bad", {"level": level})) for level in range(40)]

    def run(_at: Layer, _step: Step) -> None:
        os._exit(1)

    proof, told = tried(run, [*many, (SMALL, Step("good"))])
    assert len(told) == proofs.MOST_DEATHS + 1
    assert all(proof.cause(*case) for case in many)


def test_a_hang_in_python_or_in_a_library_refuses_the_whole_technique(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "allowed", lambda _: 0.5)
    monkeypatch.setattr(proofs, "LATE", 0.0)

    def run(_at: Layer, step: Step) -> None:
        if step.technique == "bad":
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
            time.sleep(600)

    proof, told = tried(run)
    assert [words for words in told if words.startswith("bad")] == ["bad(level=1) on small"]
    assert "did not finish within" in proof.cause(LARGE, OPTIONS[1])
    assert not proof.cause(LARGE, OPTIONS[2])


def test_what_raises_is_left_to_the_search_and_a_change_or_a_timeout_is_not() -> None:
    def run(_at: Layer, step: Step) -> None:
        if step.params.get("level") == 1:
            raise SystemExit(0)
        if step.params.get("level") == 2:
            raise ChangedError("bad changed 'weight'")

    proof, _ = tried(run, CASES[:3])
    assert proof.cause(SMALL, OPTIONS[1]) == "bad changed 'weight'"
    assert proof.cause(SMALL, OPTIONS[0]) != ""  # all of a technique that changes what it was given
    assert proof.cause(SMALL, OPTIONS[2]) == ""


def test_a_binding_loses_what_was_refused_and_says_why() -> None:
    slots = tuple(
        Slot(at.fqn, (at,), (LayerPolicy(), *(LayerPolicy((step,)) for step in OPTIONS))) for at in (SMALL, LARGE)
    )
    assert [(one.fqn, step.label()) for one, step in cases_of(slots)][:3] == [
        ("small", "bad(level=1)"), ("small", "bad(level=2)"), ("small", "good"),
    ]  # fmt: skip
    proof = Proof()
    proof.refuse(SMALL, OPTIONS[1], "it died", all_of_it=False)
    left = proof.without(Binding(slots, {"other": "why"}))
    assert [option.label() for option in left.slots[0].options] == ["dense", "bad(level=1)", "good"]
    assert left.dropped == {"other": "why", "bad(level=2) on small": "it died", "bad(level=2) on large": "it died"}
    proof.refuse(SMALL, OPTIONS[2], "died too", all_of_it=False)
    proof.refuse(SMALL, OPTIONS[0], "hung", all_of_it=True)
    assert proof.without(Binding(slots, {})).slots == ()


@pytest.mark.parametrize("how", ["mul_", "data", "numpy", "replaced", "nan"])
def test_a_change_in_place_is_undone_and_named(how: str) -> None:
    linear = nn.Linear(4, 4)
    linear.register_buffer("seen", torch.tensor([float("nan"), 1.0]))
    before = {name: tensor.clone() for name, tensor in linear.state_dict().items()}
    weight = linear.weight

    def change() -> None:
        with torch.no_grad(), untouched([linear], "'mine' on 'a.b'"):
            if how == "mul_":
                linear.weight.mul_(0.5)
            elif how == "data":
                linear.weight.data[0, 0] = 3.0
            elif how == "numpy":
                linear.weight.detach().numpy()[:] = 0
            elif how == "nan":
                linear.weight.fill_(float("nan"))
            else:
                linear.weight = nn.Parameter(torch.zeros(2, 2))

    with pytest.raises(ChangedError, match=r"'mine' on 'a\.b' changed 'weight' of the dense model in place"):
        change()
    assert linear.weight is weight
    for name, tensor in linear.state_dict().items():
        assert torch.equal(tensor.nan_to_num(), before[name].nan_to_num()), name


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.bfloat16, torch.int8, torch.bool])
def test_every_type_of_number_is_looked_at(dtype: torch.dtype) -> None:
    module = nn.Module()
    module.register_buffer("w", torch.ones(3, 4).to(dtype).T)
    module.register_buffer("scalar", torch.tensor(1.0))
    with untouched([module], "x"):
        pass
    with pytest.raises(ChangedError, match="'w'"), untouched([module], "x"):
        module.w.data[1, 2] = 0
    assert torch.equal(module.w.float(), torch.ones(4, 3))


def test_reading_is_no_change_and_an_error_inside_passes() -> None:
    linear = nn.Linear(4, 4)
    with untouched([linear, linear], "x"):
        linear(torch.ones(1, 4))
    with pytest.raises(KeyError), untouched([linear], "x"):
        raise KeyError


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_python_that_does_not_end_is_ended() -> None:
    def hang() -> None:
        with ended_after(0.2, "'slow' on 'a'"):
            while True:
                time.sleep(0.01)

    with pytest.raises(TookTooLongError, match="'slow' on 'a' did not finish within 0 s") as caught:
        hang()
    assert isinstance(caught.value, TrialError)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0
    assert patience.allowed(10**9) > patience.allowed(10**6) >= patience.LEAST
