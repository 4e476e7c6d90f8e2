"""Automatic labels: for each feature the rule that says where it fires, in words, with its score.

Invariant: pure. A label's score is of contexts that its rule was not found in, whatever it is: who
stores it decides what is shown (below 0.7 a feature stays unlabelled).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from engine.feature_maths.logit_lens import LogitLens
from engine.labelling.circumstances import circumstance_odds
from engine.labelling.corpus import Corpus
from engine.labelling.rule_search import count_tokens, find_rule
from engine.labelling.rules import Rule, RuleReader
from engine.labelling.scoring import (
    FEWEST_POSITIVES,
    Score,
    draw_sample,
    score_prediction,
)
from engine.labelling.wording import describe

AUTHOR = "rules 1"
"""Name of this method; a better one gets another, and its labels stand beside these."""
MAX_TEXT_CHARS = 400

Skipped = Literal["few", "no_rule"]


@dataclass(frozen=True, slots=True)
class AutomaticLabel:
    """A label and how well it holds."""

    feature: int
    text: str
    rule: Rule
    score: Score

    def evidence(self) -> str:
        """What it rests on, as JSON: the rule, the score, and on how many contexts."""
        return json.dumps({"rule": self.rule.to_json(), "score": asdict(self.score)})


class AutomaticLabeller:
    """Labels the features of one corpus, one by one.

    Args:
        corpus: tokens with what fires on them.
        classes: named sets of tokens.
        find_lens: the logit lens of a feature; None where there is none.
    """

    def __init__(
        self,
        corpus: Corpus,
        classes: Mapping[str, frozenset[str]],
        find_lens: Callable[[int], LogitLens | None],
    ) -> None:
        self._corpus = corpus
        self._classes = classes
        self._find_lens = find_lens
        self._reader = RuleReader(corpus)
        self._counts = count_tokens(corpus)

    def label(self, feature: int) -> AutomaticLabel | Skipped:
        """The label of a feature; `few` if it fires on too few contexts, `no_rule` if none fits."""
        rows, _ = self._corpus.places(feature)
        n_held_out = int(self._corpus.is_held_out[rows].sum())
        if min(n_held_out, len(rows) - n_held_out) < FEWEST_POSITIVES:
            return "few"
        held_out = draw_sample(self._corpus, feature, is_held_out=True)
        if held_out.n_negatives < FEWEST_POSITIVES:
            # it fires nearly everywhere: there is nothing to tell its places from
            return "no_rule"
        rule = find_rule(self._corpus, self._reader, self._counts, feature)
        if rule is None:
            return "no_rule"
        score = score_prediction(self._reader.scores(rule, held_out.rows), held_out)
        text = describe(
            rule, self._classes, self._find_lens(feature), circumstance_odds(self._corpus, feature)
        )
        return AutomaticLabel(feature, text[:MAX_TEXT_CHARS], rule, score)
