"""Labels by a hosted model, against Anthropic's API on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from engine.errors import GenerationCancelled
from engine.hosted import HostedKeyError, HostedModel
from engine.labelling.corpus import Corpus
from engine.labelling.hosted_labels import (
    estimate_label_tokens,
    label_feature,
    write_label_prompt,
)
from engine.labelling.scoring import draw_sample
from engine.settings import EngineSettings
from tests.engine.labelling.made_corpus import HALF, NAMES, SELDOM, TOKEN, make_sentences
from tests.hosted.loopback import (
    INPUT_TOKENS,
    Answer,
    LoopbackMessages,
    nonsense,
    refuse,
    reply_json,
    serve_messages,
    status,
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_sentences()


def _is_asked_for_ratings(body: dict[str, Any]) -> bool:
    return "ratings" in body["output_config"]["format"]["schema"]["properties"]


def _knows_names(body: dict[str, Any]) -> Answer:
    """A hosted model that takes the label at its word: names are rated high."""
    if not _is_asked_for_ratings(body):
        return reply_json({"label": "  names\nof people "})
    lines = body["messages"][0]["content"].splitlines()
    marked = [re.search("\u00ab(.*)\u00bb", line) for line in lines if line[:1].isdigit()]
    return reply_json({"ratings": [9 if m and m[1] in NAMES else 1 for m in marked]})


@pytest.fixture
def hosted() -> Iterator[LoopbackMessages]:
    with serve_messages(_knows_names) as loopback:
        yield loopback


def _model(hosted: LoopbackMessages) -> HostedModel:
    return HostedModel(
        EngineSettings(anthropic_api_key="sk-test", anthropic_base_url=hosted.url, _env_file=None)
    )


def test_a_label_is_scored_on_contexts_that_it_was_not_written_from(
    hosted: LoopbackMessages, corpus: Corpus
) -> None:
    found = label_feature(_model(hosted), corpus, TOKEN)
    assert (found.outcome, found.text) == ("labelled", "names of people")
    assert found.score is not None
    assert (found.score.auroc, found.score.n_positive) == (1.0, 20)
    assert found.input_tokens == 2 * INPUT_TOKENS
    shown, rated = (body["messages"][0]["content"] for body in hosted.requests)
    assert "names of people" in rated
    contexts = {line.split(". ", 1)[-1] for line in rated.splitlines() if "\u00ab" in line}
    assert len(contexts) > 20
    places = draw_sample(corpus, TOKEN, is_held_out=False, most=20).rows
    assert not corpus.is_held_out[places].any()
    assert write_label_prompt(corpus, TOKEN, draw_sample(corpus, TOKEN, False, 20)) == shown


def test_a_label_that_does_not_predict_scores_about_a_half(
    hosted: LoopbackMessages, corpus: Corpus
) -> None:
    found = label_feature(_model(hosted), corpus, HALF)
    assert found.score is not None
    assert found.score.auroc < 0.7


def test_refusals_and_nonsense_leave_no_label(hosted: LoopbackMessages, corpus: Corpus) -> None:
    model = _model(hosted)
    label = reply_json({"label": "names"})
    for answers, outcome in (
        ([refuse()], "refused"),
        ([nonsense()], "nonsense"),
        ([reply_json({"label": "  "})], "nonsense"),
        ([reply_json({"name": "x"})], "nonsense"),
        ([label, refuse()], "refused"),
        ([label, reply_json({"ratings": [1, 2, 3]})], "nonsense"),
        ([label, reply_json({"ratings": ["high"]})], "nonsense"),
    ):
        hosted.queue(*answers)
        found = label_feature(model, corpus, TOKEN)
        assert (found.outcome, found.text, found.score) == (outcome, "", None)
        assert found.reason
        assert found.input_tokens == INPUT_TOKENS * len(answers)


def test_what_fires_on_too_few_contexts_is_not_asked_for(
    hosted: LoopbackMessages, corpus: Corpus
) -> None:
    assert label_feature(_model(hosted), corpus, SELDOM).outcome == "few"
    assert not hosted.requests


def test_a_refused_key_ends_the_work(hosted: LoopbackMessages, corpus: Corpus) -> None:
    hosted.queue(status(401, "authentication_error"))
    with pytest.raises(HostedKeyError):
        label_feature(_model(hosted), corpus, TOKEN)


def test_a_cancelled_task_sends_nothing(hosted: LoopbackMessages, corpus: Corpus) -> None:
    with pytest.raises(GenerationCancelled):
        label_feature(_model(hosted), corpus, TOKEN, lambda: True)
    assert not hosted.requests


def test_the_estimate_is_near_what_is_sent(hosted: LoopbackMessages, corpus: Corpus) -> None:
    n_read, n_written = estimate_label_tokens(corpus, [TOKEN] * 50)
    label_feature(_model(hosted), corpus, TOKEN)
    sent = sum(
        len(body["system"]) + len(body["messages"][0]["content"]) for body in hosted.requests
    )
    assert n_read == pytest.approx(50 * sent / 2.7, rel=0.1)
    assert n_written == 50 * 300
    assert estimate_label_tokens(corpus, []) == (0, 0)
