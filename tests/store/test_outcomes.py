"""Outcomes: all kept, the strongest counts, conflicts shown; the engine knows the same meanings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.detection.outcomes import MEANING_OF
from store.connection import Store
from store.errors import RunNotFoundError
from store.outcome_records import Outcome, OutcomeMethod
from store.outcomes import OutcomeRepository
from store.question_records import AnswerLink, Question
from store.question_sets import QuestionSetRepository
from store.removal import delete_runs
from store.runs import RunRepository
from tests.store.samples import SOURCE, make_activations, make_run, make_tokens

START = datetime(2030, 1, 1, tzinfo=UTC)
KEY = make_run(1).run_key


@pytest.fixture
def outcomes(runs: RunRepository) -> OutcomeRepository:
    """Outcomes of a store with three runs."""
    for index in (1, 2, 3):
        runs.insert_run(SOURCE, make_run(index), make_tokens(), make_activations())
    return OutcomeRepository(runs.store)


def _outcome(
    outcome: str,
    method: OutcomeMethod = "gold",
    judge: str = "rule",
    minute: int = 0,
    evidence: str = "{}",
    key: str = KEY,
) -> Outcome:
    created_at = START + timedelta(minutes=minute)
    return Outcome(key, outcome, method, evidence, judge, 0.5, "ada", created_at)


def test_a_judgement_comes_back_as_it_went_in(outcomes: OutcomeRepository) -> None:
    kept = _outcome("correct", evidence='{"value": "é\\"", "n": 1}')
    assert outcomes.insert_outcomes([kept]) == 1
    assert outcomes.list_outcomes(KEY) == (kept,)


def test_the_same_judgement_is_kept_once(outcomes: OutcomeRepository) -> None:
    outcomes.insert_outcomes([_outcome("correct")])
    assert outcomes.insert_outcomes([_outcome("correct", minute=5)]) == 0
    assert outcomes.insert_outcomes([_outcome("correct", evidence='{"n": 2}', minute=6)]) == 1


def test_who_returns_to_an_earlier_judgement_is_heard(outcomes: OutcomeRepository) -> None:
    for minute, said in enumerate(["correct", "incorrect", "correct"]):
        assert outcomes.insert_outcomes([_outcome(said, "person", "ada", minute)]) == 1
    assert outcomes.get_verdicts([KEY])[KEY].outcome == "correct"
    assert len(outcomes.list_outcomes(KEY)) == 3


def test_the_strongest_method_holds_whatever_came_last(outcomes: OutcomeRepository) -> None:
    methods: list[OutcomeMethod] = ["tool_log", "world", "gold", "nli", "judge", "person"]
    said = ["CONFABULATION", "wrong", "wrong", "incorrect", "incorrect", "incorrect"]
    for number, (method, outcome) in enumerate(reversed(list(zip(methods, said, strict=True)))):
        outcomes.insert_outcomes([_outcome(outcome, method, minute=number)])
        verdict = outcomes.get_verdicts([KEY])[KEY]
        assert (verdict.method, verdict.outcome) == (method, outcome)
        assert verdict.n_judgements == number + 1
        assert not verdict.is_contested


@pytest.mark.parametrize(
    ("one", "other", "is_contested"),
    [
        ("correct", "incorrect", True),
        ("CONFABULATION", "correct", True),
        ("refused", "wrong", True),
        ("CONFABULATION", "wrong", False),
        ("correct", "HONEST_TOOL_USE", False),
        ("correct", "judge_refused", False),
        ("HONEST_NO_TOOL", "refused", False),
    ],
)
def test_judgements_that_say_different_things_are_shown(
    outcomes: OutcomeRepository, one: str, other: str, is_contested: bool
) -> None:
    outcomes.insert_outcomes([_outcome(one, "gold"), _outcome(other, "judge")])
    assert outcomes.get_verdicts([KEY])[KEY].is_contested is is_contested


def test_two_people_who_disagree_are_a_conflict(outcomes: OutcomeRepository) -> None:
    outcomes.insert_outcomes([_outcome("correct", "person", "ada")])
    outcomes.insert_outcomes([_outcome("incorrect", "person", "ben", minute=1)])
    verdict = outcomes.get_verdicts([KEY])[KEY]
    assert (verdict.outcome, verdict.n_judgements, verdict.is_contested) == ("incorrect", 2, True)


def test_what_could_not_be_judged_yields_to_what_could(outcomes: OutcomeRepository) -> None:
    outcomes.insert_outcomes([_outcome("broken", "world"), _outcome("correct", "person", "ada")])
    assert outcomes.get_verdicts([KEY])[KEY].outcome == "correct"


def test_only_what_could_not_be_judged_is_unknown(outcomes: OutcomeRepository) -> None:
    outcomes.insert_outcomes([_outcome("judge_refused", "judge")])
    verdict = outcomes.get_verdicts([KEY])[KEY]
    assert (verdict.outcome, verdict.meaning) == ("judge_refused", "unknown")


def test_store_and_engine_know_the_same_meanings(store: Store) -> None:
    with store.read() as cursor:
        rows = cursor.execute("SELECT outcome, meaning FROM base.outcome_meanings").fetchall()
    assert dict(rows) == dict(MEANING_OF)
    assert len(rows) == len(MEANING_OF)


def test_a_run_that_is_not_stored_is_not_judged(outcomes: OutcomeRepository) -> None:
    assert outcomes.insert_outcomes([_outcome("correct", key="f" * 64)]) == 0
    with pytest.raises(RunNotFoundError):
        outcomes.insert_judgement(_outcome("correct", key="f" * 64))


def test_a_run_that_is_removed_takes_its_judgements_along(outcomes: OutcomeRepository) -> None:
    outcomes.insert_outcomes([_outcome("correct")])
    delete_runs(outcomes._store, [KEY])
    assert outcomes.list_outcomes(KEY) == ()


def test_outcomes_of_a_set_are_counted_by_tools_and_method(outcomes: OutcomeRepository) -> None:
    sets = QuestionSetRepository(outcomes._store)
    made = sets.insert_set("s", "", "import", [Question("a"), Question("b")], "ada")
    keys = [make_run(index).run_key for index in (1, 2, 3)]
    links = [AnswerLink(0, False, keys[0]), AnswerLink(1, False, keys[1])]
    sets.insert_answers(made.set_id, [*links, AnswerLink(0, True, keys[2])])
    outcomes.insert_outcomes(
        [
            _outcome("correct", key=keys[0]),
            _outcome("incorrect", "person", "ada", key=keys[0]),
            _outcome("correct", key=keys[2]),
        ]
    )
    assert set(outcomes.count_outcomes(made.set_id)) == {
        (False, "gold", "correct", 1),
        (False, "person", "incorrect", 1),
        (False, "verdict", "correct", 1),
        (False, "verdict", "unjudged", 1),
        (True, "gold", "correct", 1),
        (True, "verdict", "correct", 1),
    }
    assert outcomes.count_contested(made.set_id) == ((False, 1),)
    assert outcomes.count_outcomes(made.set_id, "no-such-source") == ()
    assert outcomes.list_pairs("gold", "person", made.set_id) == ((keys[0], "honest", "wrong"),)
    assert outcomes.list_pairs("gold", "person", "another") == ()


def test_replies_of_judges_are_kept_under_their_key(outcomes: OutcomeRepository) -> None:
    outcomes.insert_reply("k1", {"grade": "correct"})
    outcomes.insert_reply("k1", {"grade": "incorrect"})
    assert outcomes.find_replies(["k1", "k2"]) == {"k1": {"grade": "correct"}}
