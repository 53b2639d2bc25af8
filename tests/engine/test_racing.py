"""Races look at few rows, trust them as far as they deserve, and spend more only where it matters."""

from __future__ import annotations

import numpy as np

from autocompress.engine.racing import Races

TRUE = {(0,): 0.10, (1,): 0.05, (2,): 0.30}
POLICIES = list(TRUE)


def doubtful(screen) -> Races:
    """Races beside a surrogate that was off by 60 %."""
    races = Races(screen)
    for miss in (0.6, -0.6) * 4:
        races.told(0.1, 0.1 * float(np.exp(miss)))
    return races


def gains(losses, _alive):
    return -np.asarray(losses)


def test_the_better_policy_wins_over_what_was_predicted() -> None:
    looks: list[tuple[tuple[int, ...], int]] = []

    def screen(policy, rung):
        looks.append((policy, rung))
        return [TRUE[policy] * factor for factor in (0.9, 1.0, 1.1, 1.0)]

    predicted = np.array([0.05, 0.06, 0.07])
    assert doubtful(screen).winner(POLICIES, predicted, gains) == 1
    assert [rung for _, rung in looks] == [0, 0, 0], "nothing was undecided, so nothing needed a second look"


def test_only_the_undecided_get_more_rows() -> None:
    looks: list[tuple[tuple[int, ...], int]] = []
    rng = np.random.default_rng(0)

    def screen(policy, rung):
        looks.append((policy, rung))
        base = {(0,): 0.100, (1,): 0.101, (2,): 5.0}[policy]
        return (base * np.exp(0.3 * rng.normal(size=16))).tolist()

    doubtful(screen).winner(POLICIES, np.full(3, 0.1), gains)
    assert {policy for policy, rung in looks if rung == 1} == {(0,), (1,)}


def test_rows_that_say_little_do_not_overrule_the_surrogate() -> None:
    def screen(policy, _rung):
        return [0.02, 0.4, 0.01, 0.3] if policy == (0,) else [0.5, 0.01, 0.3, 0.02]

    races = Races(screen)
    for miss in (0.2, -0.2) * 4:
        races.told(0.1, 0.1 * float(np.exp(miss)))
    assert races.worthwhile
    assert races.winner([(0,), (1,)], np.array([0.2, 0.1]), gains) == 1


def test_a_surrogate_that_is_right_needs_no_race() -> None:
    races = Races(lambda _policy, _rung: [0.1])
    assert not races.worthwhile, "nothing is known yet"
    for _ in range(8):
        races.told(0.1, 0.105)
    assert not races.worthwhile


def test_a_policy_that_does_not_run_is_out() -> None:
    races = doubtful(lambda policy, _rung: None if policy != (2,) else [0.3, 0.3])
    assert races.winner(POLICIES, np.full(3, 0.1), gains) == 2
    assert doubtful(lambda _policy, _rung: None).winner(POLICIES, np.full(3, 0.1), gains) == 0
