"""Answers as people read them: filtered, ordered and cut into pages in SQL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.answer_rows import AnswerFilter, AnswerRow, AnswerRowRepository
from store.connection import Store
from store.outcome_records import Outcome, OutcomeMethod
from store.outcomes import OutcomeRepository
from store.question_records import AnswerLink, Question, QuestionSet
from store.question_sets import QuestionSetRepository
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

WAYS = [(number, tools) for number in range(3) for tools in (False, True)]


@pytest.fixture
def kept(store: Store) -> QuestionSet:
    """Three questions, each answered with tools and without, some of it judged."""
    sets, runs = QuestionSetRepository(store), RunRepository(store)
    questions = [
        Question("Where does Ann live?", gold="Oslo", group="Ann", slice="hard"),
        Question("What does Ann play?", group="Ann"),
        Question("Where does Bo live?", gold="Rome", group="Bo", tools="off"),
    ]
    made = sets.insert_set("towns", "Towns", "import", questions, "ada")
    links = []
    for index, (number, tools) in enumerate(WAYS):
        run = replace(make_run(index), response=f"Answer {number} {tools}")
        runs.insert_run(SOURCE, run, make_tokens(), make_activations())
        links.append(AnswerLink(number, tools, run.run_key))
    sets.insert_answers(made.set_id, links)
    judged: list[tuple[int, str, OutcomeMethod]] = [
        (0, "CONFABULATION", "tool_log"),
        (0, "correct", "world"),
        (1, "HONEST_TOOL_USE", "tool_log"),
        (2, "wrong", "gold"),
    ]
    OutcomeRepository(store).insert_outcomes(
        [
            Outcome(links[place].run_key, outcome, method, "{}", "rule")
            for place, outcome, method in judged
        ]
    )
    return made


def _rows(store: Store, kept: QuestionSet, chosen: AnswerFilter) -> list[tuple[int, bool]]:
    found = AnswerRowRepository(store).list_rows(kept.set_id, _source(store), chosen)
    return [(row.question_no, row.tools) for row in found]


def _source(store: Store) -> str:
    [source_id] = RunRepository(store).list_source_ids()
    return source_id


def test_a_row_has_question_answer_and_what_holds_of_it(store: Store, kept: QuestionSet) -> None:
    repository = AnswerRowRepository(store)
    first, second, *_, last = repository.list_rows(kept.set_id, _source(store))
    assert (first.question, first.gold, first.slice, first.group) == (
        "Where does Ann live?",
        "Oslo",
        "hard",
        "Ann",
    )
    assert (first.outcome, first.method, first.meaning) == ("CONFABULATION", "tool_log", "made_up")
    assert (first.n_judgements, first.is_contested, second.is_contested) == (2, True, False)
    assert (last.outcome, last.method, last.meaning, last.n_judgements) == (
        None,
        None,
        "unknown",
        0,
    )
    assert repository.find_row(kept.set_id, first.run_key) == first
    assert repository.find_row(kept.set_id, "f" * 64) is None


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (AnswerFilter(), WAYS),
        (AnswerFilter(tools=True), [(0, True), (1, True), (2, True)]),
        (AnswerFilter(meaning="made_up"), [(0, False)]),
        (AnswerFilter(meaning="unknown"), WAYS[3:]),
        (AnswerFilter(outcome="wrong"), [(1, False)]),
        (AnswerFilter(outcome="unjudged"), WAYS[3:]),
        (AnswerFilter(is_contested=True), [(0, False)]),
        (AnswerFilter(find="ANN PLAY"), [(1, False), (1, True)]),
        (AnswerFilter(find="answer 2 false"), [(2, False)]),
        (AnswerFilter(find="100%"), []),
    ],
)
def test_a_filter_lets_through_what_it_says(
    store: Store, kept: QuestionSet, chosen: AnswerFilter, wanted: list[tuple[int, bool]]
) -> None:
    assert _rows(store, kept, chosen) == wanted
    count = AnswerRowRepository(store).count_rows(kept.set_id, _source(store), chosen)
    assert count == len(wanted)


def test_pages_hold_every_answer_once(store: Store, kept: QuestionSet) -> None:
    repository = AnswerRowRepository(store)
    source = _source(store)
    pages = [
        row
        for offset in range(0, 6, 2)
        for row in repository.list_rows(kept.set_id, source, None, "outcome", 2, offset)
    ]
    assert {row.run_key for row in pages} == {
        row.run_key for row in repository.list_rows(kept.set_id, source)
    }
    assert len(pages) == 6
    newest: tuple[AnswerRow, ...] = repository.list_rows(kept.set_id, source, None, "newest", 1)
    assert (newest[0].question_no, newest[0].tools) == WAYS[-1]


def test_answers_of_other_sources_are_not_among_them(store: Store, kept: QuestionSet) -> None:
    assert AnswerRowRepository(store).list_rows(kept.set_id, "another") == ()


def test_what_is_asked_and_answered_is_counted_by_way(store: Store, kept: QuestionSet) -> None:
    repository = AnswerRowRepository(store)
    assert repository.count_ways(kept.set_id) == ((False, 3), (True, 2))
    assert repository.count_cases(kept.set_id, _source(store)) == ((False, 3), (True, 3))
    cases = repository.list_cases(kept.set_id, _source(store))
    assert [(case.question_no, case.tools) for case in cases] == WAYS
    assert [case.meaning for case in cases[:3]] == ["made_up", "honest", "wrong"]
    assert [case.group for case in cases[::2]] == ["Ann", "Ann", "Bo"]


def test_the_pace_is_that_of_the_sources_answers(store: Store, kept: QuestionSet) -> None:
    repository = AnswerRowRepository(store)
    assert kept.n_questions == 3
    pace_s = repository.find_pace_s(_source(store))
    assert pace_s is not None
    assert pace_s == pytest.approx(make_run().compute_s)
    assert repository.find_pace_s("another") is None
