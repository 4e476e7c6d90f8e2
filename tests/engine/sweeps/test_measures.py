"""What sweeps measure, on small cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engine.concepts.halves import half_of
from engine.demo.language import write_answer, write_refusal
from engine.demo.world import ATTRIBUTE_BY_KEY, UNTAUGHT, make_world
from engine.sweeps.estimates import bootstrap, mean
from engine.sweeps.gates import LinearGate, fit_gate
from engine.sweeps.text_metrics import (
    distinct_share,
    lexicon_share,
    repeated_share,
    split_words,
)
from engine.sweeps.toy_choice import Trial, choose
from engine.sweeps.toy_outcomes import (
    ToyOutcomes,
    measure_effect,
    point_effect,
    where_open,
)
from engine.sweeps.toy_questions import draw_toy_questions, judge
from store.specs import Intervention
from store.sweep_records import Estimate

WORLD = make_world()


def test_words_are_counted_without_case_and_marks() -> None:
    assert split_words("It's GREAT, isn't it?") == ["it's", "great", "isn't", "it"]
    assert lexicon_share("Great, great fun!", {"great"}) == pytest.approx(2 / 3)
    assert lexicon_share("...", {"great"}) == 0


def test_repetition_is_the_share_of_n_grams_seen_before() -> None:
    assert repeated_share("a b c d e f") == 0
    # four 4-grams of one word: three of them stood there before
    assert repeated_share("no no no no no no no") == pytest.approx(3 / 4)
    assert repeated_share("a b c") == 0
    assert distinct_share("a b a b a b") == pytest.approx(2 / 5)
    assert distinct_share("a") == 1


def test_an_interval_is_of_groups_and_holds_the_truth_most_of_the_time() -> None:
    rng = np.random.default_rng(0)
    n_held = 0
    for _ in range(100):
        level = rng.normal(2.0, 1.0, 100)
        values = np.repeat(level, 3) + rng.normal(0, 0.1, 300)
        found = mean(values, np.repeat(np.arange(100), 3).tolist())
        assert found.low is not None
        assert found.high is not None
        n_held += found.low <= 2.0 <= found.high
    assert n_held >= 88
    wide = mean([0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b"])
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)


def test_what_is_not_defined_has_no_number() -> None:
    assert mean([], []) == Estimate()
    assert mean([float("nan")], ["a"]) == Estimate()
    nothing = bootstrap({"a": [0.0], "b": [0.0]}, ["x"], lambda sums: sums["a"] / sums["b"])
    assert nothing == Estimate()


def test_an_answer_is_judged_by_the_world() -> None:
    question = draw_toy_questions(WORLD, "report", 1).known[0]
    truth = WORLD.truth(question.person, question.attribute)
    others = [v for v in ATTRIBUTE_BY_KEY[question.attribute].values if v != truth]
    assert judge(WORLD, question, write_answer(question, truth)) == "t"
    assert judge(WORLD, question, write_answer(question, others[0])) == "f"
    assert judge(WORLD, question, write_refusal(question)) == "r"
    assert judge(WORLD, question, "the the the") == "b"
    assert judge(WORLD, question, "") == "b"


def test_the_halves_share_no_person_and_no_frame() -> None:
    choose_half, report = (draw_toy_questions(WORLD, half, 500) for half in ("choose", "report"))
    for one, other in ((choose_half.unknown, report.unknown), (choose_half.known, report.known)):
        assert not {q.person for q in one} & {q.person for q in other}
        assert all(half_of(q.person.name) == "choose" for q in one)
        assert not any(q.held_out for q in one)
        assert all(q.held_out for q in other)
    untaught = {attribute.key for attribute in UNTAUGHT}
    assert {q.attribute for q in report.unknown} == untaught
    # the same is asked about people it knows: no gate can tell them apart by the question
    assert {q.attribute for q in report.known} == untaught
    assert {q.person for q in report.unknown} <= set(WORLD.unknown)
    pairs = [(q.person, q.attribute) for q in report.unknown]
    assert len(set(pairs)) == len(pairs)


def test_refusing_everything_reduces_all_and_loses_all() -> None:
    before = ToyOutcomes("ffft", "tttt")
    effect = measure_effect(before, ToyOutcomes("rrrr", "rrrr"), list("abcd"), list("efgh"))
    assert (effect.reduction.value, effect.loss.value, effect.whole.value) == (1.0, 1.0, 1.0)


def test_broken_answers_are_no_reduction() -> None:
    before = ToyOutcomes("ffff", "tt")
    effect = measure_effect(before, ToyOutcomes("bbbr", "tb"), list("abcd"), list("ef"))
    assert effect.reduction.value == pytest.approx(0.25)
    assert effect.loss.value == pytest.approx(0.5)
    assert effect.whole.value == pytest.approx(2 / 6)
    assert point_effect(before, ToyOutcomes("bbbr", "tb")) == (0.25, 0.5)


def test_what_was_refused_before_does_not_count_as_reduced() -> None:
    before = ToyOutcomes("ffrr", "t")
    assert point_effect(before, ToyOutcomes("rfrr", "t"))[0] == pytest.approx(0.5)
    # a refusal that becomes an answer counts against it
    assert point_effect(before, ToyOutcomes("rrff", "t"))[0] == pytest.approx(0.0)


def test_a_gate_takes_the_steered_answer_only_where_it_is_open() -> None:
    before, after = ToyOutcomes("fff", "ttt"), ToyOutcomes("rrr", "rrr")
    opened = where_open(
        before, after, np.array([True, False, True]), np.array([False, False, True])
    )
    assert opened == ToyOutcomes("rfr", "ttr")


@pytest.mark.parametrize("is_sparse", [True, False])
def test_a_gate_finds_the_column_that_tells(is_sparse: bool) -> None:
    rng = np.random.default_rng(2)
    rows = np.maximum(rng.standard_normal((400, 30)), 0).astype(np.float32)
    flags = rng.random(400) < 0.5
    rows[:, 7] = np.where(flags, 3.0, 0.2) + 0.3 * rng.random(400)
    people = [f"person {n // 2}" for n in range(400)]
    gate = fit_gate(rows, flags, people, is_sparse)
    assert gate.auroc > 0.98
    assert int(gate.columns[np.abs(gate.weights).argmax()]) == 7
    scores = gate.score(rows)
    assert scores[flags].mean() > scores[~flags].mean()


def test_a_gates_scores_do_not_know_the_people_whom_they_are_of() -> None:
    rng = np.random.default_rng(3)
    # every person has a column of their own, and nothing else tells: new people cannot be told
    flags = np.repeat(rng.random(60) < 0.5, 4)
    rows = np.repeat(np.eye(60, dtype=np.float32), 4, axis=0)
    people = [f"person {n // 4}" for n in range(240)]
    assert fit_gate(rows, flags, people, is_sparse=False).auroc < 0.65


def _gate(n_unknown: int, n_known: int) -> LinearGate:
    scores = np.concatenate([np.ones(n_unknown), np.zeros(n_known)])
    scores[n_unknown] = 2.0  # one known person looks unknown
    return LinearGate(np.array([0]), np.array([1.0]), 0.0, scores, 0.9)


def test_the_choice_stays_within_the_limit() -> None:
    before = ToyOutcomes("f" * 50, "t" * 50)
    pushed = (Intervention("add", 1.0, feature=1, unit="norm", positions="answering"),)
    weak, strong = (Trial(name, "sae", pushed, 1) for name in ("weak", "strong"))
    tried = [
        (weak, 0.5, ToyOutcomes("r" * 10 + "f" * 40, "t" * 50)),
        (strong, 2.0, ToyOutcomes("r" * 50, "r" * 50)),
    ]
    always = choose(tried, before, {}, 0.05, gated=False)
    assert always is not None
    assert (always.trial.name, always.gate) == ("weak", None)
    gated = choose(tried, before, {-1: _gate(50, 50)}, 0.05, gated=True)
    assert gated is not None
    assert (gated.trial.name, gated.gate, gated.reduction) == ("strong", -1, 1.0)
    assert gated.loss == pytest.approx(0.02)
    assert choose(tried[1:], before, {}, 0.05, gated=False) is None
    # a gate over the residual after a later layer cannot decide an earlier one
    assert choose(tried, before, {2: _gate(50, 50)}, 0.05, gated=True) is None
