"""What tools change: counts, shares and their intervals, over questions asked both ways."""

from __future__ import annotations

import pytest

from engine.intervals import wilson_interval
from engine.tools_effect import compare_tools
from store.answer_rows import AnswerCase


def _cases(
    n_groups: int, n_false_off: int, n_false_on: int, per_group: int = 4
) -> list[AnswerCase]:
    """Groups whose answers are all alike: the first so many are false."""
    cases = []
    for number in range(n_groups * per_group):
        group = number // per_group
        for tools, n_false in ((False, n_false_off), (True, n_false_on)):
            meaning = "made_up" if group < n_false else "honest"
            cases.append(AnswerCase(number, f"g{group}", tools, meaning))  # type: ignore[arg-type]
    return cases


def test_shares_are_counted_of_questions_asked_both_ways() -> None:
    alone = [AnswerCase(1_000 + number, "alone", False, "wrong") for number in range(50)]
    paired = compare_tools([*_cases(20, 10, 0), *alone])
    whole = compare_tools([*_cases(20, 10, 0), *alone], is_paired=False)
    assert (paired.n_questions, paired.n_groups) == (80, 20)
    assert (whole.n_questions, whole.n_groups) == (130, 21)
    made_up, wrong = paired.cell(False, "made_up"), whole.cell(False, "wrong")
    assert made_up
    assert (made_up.n, made_up.n_all, made_up.share.value) == (40, 80, 0.5)
    assert wrong
    assert (wrong.n, wrong.n_all) == (50, 130)


def test_the_difference_is_paired_and_negative_where_tools_help() -> None:
    found = compare_tools(_cases(40, 20, 2)).difference
    assert found
    assert found.value == pytest.approx(-0.45)
    assert found.low < found.value < found.high < 0


def test_answers_of_one_group_do_not_narrow_the_interval() -> None:
    many = compare_tools(_cases(20, 10, 0, per_group=40)).cell(False, "made_up")
    few = compare_tools(_cases(20, 10, 0, per_group=1)).cell(False, "made_up")
    assert many
    assert few
    width_many = many.share.high - many.share.low
    low, high = wilson_interval(400, 800)
    assert width_many > 4 * float(high - low)
    assert width_many == pytest.approx(few.share.high - few.share.low, rel=0.15)


def test_none_of_many_is_not_certainly_zero() -> None:
    cell = compare_tools(_cases(20, 10, 0)).cell(True, "made_up")
    assert cell
    assert (cell.share.value, cell.share.low) == (0.0, 0.0)
    assert cell.share.high == pytest.approx(0.0458, abs=1e-3)


def test_one_way_alone_says_nothing_of_tools() -> None:
    off = [case for case in _cases(5, 2, 0) if not case.tools]
    assert compare_tools(off).cells == ()
    found = compare_tools(off, is_paired=False)
    assert found.difference is None
    assert found.cell(True, "made_up") is None
    assert compare_tools([]).cells == ()
