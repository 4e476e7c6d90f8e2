"""Automatic labels on features whose meaning is known."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import mannwhitneyu

from engine.labelling.automatic import AutomaticLabel, AutomaticLabeller
from engine.labelling.corpus import N_BEFORE, NOTHING, Corpus, make_corpus
from engine.labelling.rules import Condition, Rule, RuleReader, parse_rule
from engine.labelling.scoring import area, draw_sample, score_prediction
from tests.engine.labelling.made_corpus import (
    ALWAYS,
    FLAG,
    HALF,
    NAMES,
    NOISE,
    PAIR,
    SELDOM,
    TOKEN,
    TOKEN_FLAG,
    make_sentences,
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_sentences()


@pytest.fixture(scope="module")
def labels(corpus: Corpus) -> Mapping[int, AutomaticLabel | str]:
    classes = {"names": frozenset(name.strip() for name in NAMES)}
    labeller = AutomaticLabeller(corpus, classes, lambda _: None)
    return {feature: labeller.label(feature) for feature in range(8)}


def _label(labels: Mapping[int, AutomaticLabel | str], feature: int) -> AutomaticLabel:
    found = labels[feature]
    assert isinstance(found, AutomaticLabel), found
    return found


@pytest.mark.parametrize("feature", [TOKEN, PAIR, FLAG, TOKEN_FLAG])
def test_what_follows_a_rule_gets_a_label_that_predicts_it(
    labels: Mapping[int, AutomaticLabel | str], feature: int
) -> None:
    assert _label(labels, feature).score.auroc > 0.95


def test_labels_say_what_the_rules_are(labels: Mapping[int, AutomaticLabel | str]) -> None:
    assert _label(labels, TOKEN).text.startswith("fires on names (")
    assert " after \u201cin\u201d" in _label(labels, PAIR).text
    assert "in the answer" in _label(labels, FLAG).text
    assert _label(labels, TOKEN_FLAG).text.startswith("fires on names (")
    assert "in the answer" in _label(labels, TOKEN_FLAG).text


def test_a_token_on_which_it_fires_as_often_as_not_is_no_meaning(
    labels: Mapping[int, AutomaticLabel | str],
) -> None:
    found = labels[HALF]
    assert found == "no_rule" or _label(labels, HALF).score.auroc < 0.7


def test_noise_stays_below_the_bar(labels: Mapping[int, AutomaticLabel | str]) -> None:
    found = labels[NOISE]
    assert found == "no_rule" or _label(labels, NOISE).score.auroc < 0.7


def test_what_hardly_fires_or_always_fires_gets_no_label(
    labels: Mapping[int, AutomaticLabel | str],
) -> None:
    assert labels[SELDOM] == "few"
    assert labels[ALWAYS] == "no_rule"


def test_the_score_is_that_of_held_out_contexts(corpus: Corpus) -> None:
    sample = draw_sample(corpus, TOKEN_FLAG, is_held_out=True)
    assert corpus.is_held_out[sample.rows].all()
    firing = corpus.fires[:, [TOKEN_FLAG]].toarray()[:, 0] > 0
    assert firing[sample.positives].all()
    assert not firing[np.concatenate([sample.hard, sample.other])].any()
    # names in questions are as many as in answers by a half: hard negatives by their natural rate
    texts = corpus.text_id
    assert np.isin(texts[sample.hard], texts[sample.positives]).all()
    assert not np.isin(texts[sample.other], texts[sample.positives]).any()
    natural = (~firing & (texts < len(NAMES)) & corpus.is_held_out).sum()
    expected = natural / (firing & corpus.is_held_out).sum() * len(sample.positives)
    assert len(sample.hard) == pytest.approx(expected, abs=1)
    assert len(sample.positives) == sample.n_negatives


def test_a_rule_on_the_token_alone_is_at_chance_on_hard_negatives(corpus: Corpus) -> None:
    reader = RuleReader(corpus)
    sample = draw_sample(corpus, TOKEN_FLAG, is_held_out=True)
    rule = Rule(dict.fromkeys(NAMES, 1.0), ())
    score = score_prediction(reader.scores(rule, sample.rows), sample)
    assert score.auroc_hard == pytest.approx(0.5)
    better = Rule(rule.tokens, (Condition("flag", ("in the answer",)),))
    assert score_prediction(reader.scores(better, sample.rows), sample).auroc == 1.0


def test_the_area_is_mann_whitney_s() -> None:
    generator = np.random.default_rng(0)
    positives = generator.integers(0, 9, 40).astype(np.float64)
    negatives = generator.integers(0, 7, 70).astype(np.float64)
    expected = mannwhitneyu(positives, negatives).statistic / (40 * 70)
    assert area(positives, negatives) == pytest.approx(expected)


def test_rules_are_what_their_json_says(
    corpus: Corpus, labels: Mapping[int, AutomaticLabel | str]
) -> None:
    reader = RuleReader(corpus)
    rows = np.arange(corpus.n_tokens)
    for feature in (TOKEN, PAIR, FLAG, TOKEN_FLAG):
        label = _label(labels, feature)
        read = parse_rule(json.dumps(json.loads(label.evidence())["rule"]))
        assert reader.scores(read, rows) == pytest.approx(reader.scores(label.rule, rows), abs=1e-4)
    with pytest.raises(ValueError, match="no rule"):
        parse_rule('{"tokens": []}')


def test_equal_beginnings_count_once_and_prompts_stay_whole() -> None:
    text_id = np.array([0, 1, 2, 0, 1, 3, 1, 2], np.int32)
    run = np.array([0, 0, 0, 1, 1, 1, 2, 2], np.int32)
    position = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)
    fires = sparse.csr_array(np.eye(8, dtype=np.float32))
    prompts = ["a", "a", "b"]
    made = make_corpus(("w", "x", "y", "z"), text_id, run, position, fires, {}, prompts)
    assert made.run.tolist() == [0, 0, 0, 1, 2, 2]
    assert made.before[3, :3].tolist() == [1, 0, NOTHING]
    assert made.before[4].tolist() == [NOTHING] * N_BEFORE
    assert made.places(5)[0].tolist() == [3]
    assert len(set(made.is_held_out[:4].tolist())) == 1


def test_a_run_that_begins_with_another_s_tokens_knows_what_stands_before() -> None:
    text_id = np.array([0, 1, 2, 0, 1, 3], np.int32)
    run, position = np.repeat([0, 1], 3).astype(np.int32), np.tile([0, 1, 2], 2).astype(np.int32)
    is_own = np.array([True, True, True, False, False, True])
    fires = sparse.csr_array(np.ones((6, 1), np.float32))
    made = make_corpus(("w", "x", "y", "z"), text_id, run, position, fires, {}, "ab", is_own)
    assert made.n_tokens == 4
    assert made.before[3, :2].tolist() == [1, 0]
