"""Question sets: kept once and never changed; answers linked to runs that are stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.connection import Store
from store.errors import InvalidSpecError, QuestionSetNotFoundError
from store.question_records import AnswerLink, Question
from store.question_sets import QuestionSetRepository
from store.removal import delete_runs
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens, renamed

QUESTIONS = (
    Question("Where does Anna live?", "Lisbon", ("Lisboa",), "Anna", "both", True, "hard", "known",
             "city", "Where does {p} live?"),
    Question("Who is Ben?"),
)  # fmt: skip


@pytest.fixture
def sets(store: Store) -> QuestionSetRepository:
    """The sets of the store."""
    return QuestionSetRepository(store)


def _insert_runs(runs: RunRepository, *indexes: int) -> list[str]:
    for index in indexes:
        runs.insert_run(SOURCE, make_run(index), make_tokens(), make_activations())
    return [make_run(index).run_key for index in indexes]


def test_a_set_comes_back_as_it_went_in(sets: QuestionSetRepository) -> None:
    made = sets.insert_set("demo", "A set", "world", QUESTIONS, "ada", 17)
    assert sets.get_set("demo") == sets.get_set(made.set_id)
    assert replace(sets.get_set("demo"), created_at=made.created_at) == made
    assert sets.list_questions(made.set_id) == QUESTIONS
    assert (made.n_questions, made.world_seed, made.origin) == (2, 17, "world")


def test_the_same_questions_under_a_name_are_the_same_set(sets: QuestionSetRepository) -> None:
    first = sets.insert_set("demo", "A set", "import", QUESTIONS, "ada")
    again = sets.insert_set("demo", "Another title", "import", QUESTIONS, "ben")
    assert (again.set_id, again.title) == (first.set_id, "A set")
    assert len(sets.list_sets()) == 1


def test_other_questions_under_a_name_are_refused(sets: QuestionSetRepository) -> None:
    sets.insert_set("demo", "A set", "import", QUESTIONS, "ada")
    with pytest.raises(InvalidSpecError, match="Another question set has the name 'demo'"):
        sets.insert_set("demo", "A set", "import", QUESTIONS[:1], "ada")


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 81, "ö"])
def test_a_name_that_makes_no_link_is_refused(sets: QuestionSetRepository, name: str) -> None:
    with pytest.raises(InvalidSpecError, match="cannot be the name"):
        sets.insert_set(name, "", "import", QUESTIONS, "ada")


def test_an_empty_set_is_refused(sets: QuestionSetRepository) -> None:
    with pytest.raises(InvalidSpecError, match="needs questions"):
        sets.insert_set("none", "", "import", (), "ada")


@pytest.mark.parametrize("name", ["demo", "x" * 20, "'; DROP TABLE base.runs; --"])
def test_a_set_that_is_not_there_is_an_error(sets: QuestionSetRepository, name: str) -> None:
    with pytest.raises(QuestionSetNotFoundError):
        sets.get_set(name)
    with pytest.raises(QuestionSetNotFoundError):
        sets.insert_answers(name, [AnswerLink(0, False, "0" * 64)])


def test_answers_are_linked_once_and_only_to_stored_runs(
    sets: QuestionSetRepository, runs: RunRepository
) -> None:
    first, second = _insert_runs(runs, 1, 2)
    made = sets.insert_set("demo", "", "import", QUESTIONS, "ada")
    links = [
        AnswerLink(0, False, first),
        AnswerLink(1, True, second),
        AnswerLink(1, False, "f" * 64),
    ]
    assert sets.insert_answers(made.set_id, links) == 2
    assert sets.insert_answers(made.set_id, links) == 0
    assert set(sets.list_links(made.set_id)) == set(links[:2])
    [one, other] = sets.list_answers(made.set_id)
    assert (one.question_no, one.tools, one.run_key, one.response) == (0, False, first, "answer 1")
    assert [answer.run_key for answer in sets.list_answers(made.set_id, tools=True)] == [second]
    assert sets.list_answers(made.set_id, other.source_id) == (one, other)
    assert sets.list_answers(made.set_id, renamed("other").name) == ()


def test_a_run_that_is_removed_answers_nothing(
    sets: QuestionSetRepository, runs: RunRepository
) -> None:
    [key] = _insert_runs(runs, 1)
    made = sets.insert_set("demo", "", "import", QUESTIONS, "ada")
    sets.insert_answers(made.set_id, [AnswerLink(0, False, key)])
    delete_runs(runs.store, [key])
    _insert_runs(runs, 2)
    assert sets.list_answers(made.set_id) == ()


def test_a_set_that_is_deleted_leaves_its_runs(
    sets: QuestionSetRepository, runs: RunRepository
) -> None:
    [key] = _insert_runs(runs, 1)
    made = sets.insert_set("demo", "", "import", QUESTIONS, "ada")
    sets.insert_answers(made.set_id, [AnswerLink(0, False, key)])
    sets.delete_set(made.set_id)
    assert sets.find_set("demo") is None
    assert runs.has_run(key)


@pytest.mark.parametrize(
    ("field", "value"), [("question", "  "), ("question", "\ud800"), ("tools", "perhaps")]
)
def test_a_question_that_cannot_be_asked_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidSpecError):
        replace(QUESTIONS[0], **{field: value})  # type: ignore[arg-type]
