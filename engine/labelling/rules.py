"""Rules that say where a feature fires: on which tokens, after which, in which circumstances.

Invariant: a rule is data that can be stored as JSON and evaluated on any tokens; what its words say
is exactly what it tests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.labelling.corpus import Bools, Corpus, Int64s

Doubles = npt.NDArray[np.float64]
ConditionKind = Literal["after", "within", "flag", "no_flag"]

REST = 0.02
"""Share of the score that is left where a condition fails, so that tokens still order the rest."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold beside the token.

    Attributes:
        kind: `after` one of the texts directly; one of them `within` the last few tokens; in the
            circumstance named (`flag`), or not in it (`no_flag`).
        texts: of tokens; for flags the name alone.
    """

    kind: ConditionKind
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """Where a feature fires.

    Attributes:
        tokens: by text, the share of its occurrences on which the feature fires; empty: any token.
        conditions: all must hold.
    """

    tokens: Mapping[str, float]
    conditions: tuple[Condition, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values, to be stored."""
        return {
            "tokens": {text: round(rate, 4) for text, rate in self.tokens.items()},
            "conditions": [
                {"kind": item.kind, "texts": list(item.texts)} for item in self.conditions
            ],
        }


def parse_rule(text: str) -> Rule:
    """A rule that was stored.

    Raises:
        ValueError: if the text is no rule.
    """
    content = json.loads(text)
    try:
        return Rule(
            {str(token): float(rate) for token, rate in content["tokens"].items()},
            tuple(
                Condition(item["kind"], tuple(map(str, item["texts"])))
                for item in content["conditions"]
            ),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("this is no rule") from error


class RuleReader:
    """Evaluates rules on one corpus; texts are looked up once."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._ids = {text: number for number, text in enumerate(corpus.vocabulary)}

    def scores(self, rule: Rule, rows: Int64s) -> Doubles:
        """How likely a rule finds it that the feature fires, [rows]; only the order counts."""
        score = np.ones(len(rows))
        if rule.tokens:
            table = np.zeros(len(self._corpus.vocabulary))
            for text, rate in rule.tokens.items():
                if text in self._ids:
                    table[self._ids[text]] = rate
            score = table[self._corpus.text_id[rows]]
        for condition in rule.conditions:
            score = score * np.where(self.holds(condition, rows), 1.0, REST)
        return score

    def holds(self, condition: Condition, rows: Int64s) -> Bools:
        """Where a condition holds, [rows]; nowhere if the corpus does not know the circumstance."""
        if condition.kind in ("flag", "no_flag"):
            flag = self._corpus.flags.get(condition.texts[0])
            if flag is None:
                return np.zeros(len(rows), bool)
            return flag[rows] if condition.kind == "flag" else ~flag[rows]
        wanted = np.zeros(len(self._corpus.vocabulary) + 1, bool)
        for text in condition.texts:
            if text in self._ids:
                wanted[self._ids[text]] = True
        # NOTHING, -1, is the last place of the table, which is never wanted
        before = self._corpus.before[rows]
        if condition.kind == "after":
            return np.asarray(wanted[before[:, 0]], np.bool_)
        return np.asarray(wanted[before].any(axis=1), np.bool_)
