"""Finds the rule that best says where a feature fires, in one half of a corpus.

Invariant: pure; only the half that is not held out is looked at. A condition is added only where it
makes the prediction clearly better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.feature_maths.token_odds import dirichlet_log_odds
from engine.labelling.corpus import NOTHING, Bools, Corpus, Int64s
from engine.labelling.rules import REST, Condition, Rule, RuleReader
from engine.labelling.scoring import Sample, area, draw_sample

MOST_TOKENS = 60
_MOST_BEFORE = 8
_LEAST_Z = 1.65
_LEAST_GAIN = 0.02
_MOST_CONDITIONS = 3


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of one half of a corpus by text: all of them, [vocabulary]."""

    n_all: Int64s


def count_tokens(corpus: Corpus) -> TokenCounts:
    """Counts the half that is not held out, once for all features."""
    texts = corpus.text_id[~corpus.is_held_out]
    return TokenCounts(np.bincount(texts, minlength=len(corpus.vocabulary)))


def find_rule(corpus: Corpus, reader: RuleReader, counts: TokenCounts, feature: int) -> Rule | None:
    """The best rule for a feature; None if nothing says where it fires.

    Args:
        corpus: the tokens.
        reader: of the same corpus.
        counts: of the same corpus.
        feature: which fires on at least a few of them.
    """
    sample = draw_sample(corpus, feature, is_held_out=False)
    if not len(sample.positives) or not sample.n_negatives:
        return None
    tokens = _token_rates(corpus, counts, feature)
    begins = [Rule(tokens, ())] if tokens else []
    begins.append(Rule({}, ()))
    candidates = list(_candidates(corpus, sample))
    held = [reader.holds(condition, sample.rows) for condition in candidates]
    found = [_improve(reader, sample, rule, candidates, held) for rule in begins]
    gain, rule = max(found, key=lambda item: item[0])
    return rule if gain > 0.5 + _LEAST_GAIN and (rule.tokens or rule.conditions) else None


def _token_rates(corpus: Corpus, counts: TokenCounts, feature: int) -> dict[str, float]:
    """The tokens that a feature is specific to, those on which it fires most often first."""
    rows, _ = corpus.places(feature)
    rows = rows[~corpus.is_held_out[rows]]
    n_active = np.bincount(corpus.text_id[rows], minlength=len(corpus.vocabulary))
    kinds = np.flatnonzero(counts.n_all)
    log_odds, z = dirichlet_log_odds(n_active[kinds], counts.n_all[kinds])
    # a token met once may belong to a family that fires: it counts where its odds are high
    is_kept = (n_active[kinds] > 0) & ((z >= _LEAST_Z) | (log_odds >= 1.0))
    chosen = kinds[is_kept]
    order = chosen[np.lexsort((chosen, -n_active[chosen]))][:MOST_TOKENS]
    rate = n_active[order] / (counts.n_all[order] + 1.0)
    return {
        corpus.vocabulary[number]: float(value)
        for number, value in zip(order.tolist(), rate, strict=True)
    }


def _candidates(corpus: Corpus, sample: Sample) -> Iterator[Condition]:
    positives, negatives = sample.positives, np.concatenate([sample.hard, sample.other])
    for name, flag in corpus.flags.items():
        inside, outside = flag[positives].mean(), flag[negatives].mean()
        if inside != outside:
            yield Condition("flag" if inside > outside else "no_flag", (name,))
    near = sample.hard if len(sample.hard) >= len(positives) // 4 else negatives
    n_texts = len(corpus.vocabulary)
    last = corpus.before[:, 0]
    after = _specific(_once(last[positives], n_texts), _once(last[near], n_texts))
    yield from _conditions("after", after, corpus)
    window = corpus.before
    within = _specific(_each(window[positives], n_texts), _each(window[near], n_texts))
    yield from _conditions("within", within, corpus)


def _conditions(kind: str, texts: Int64s, corpus: Corpus) -> Iterator[Condition]:
    """The condition with all of these texts, with the first few, and with the first alone."""
    for size in sorted({len(texts), min(len(texts), 3), min(len(texts), 1)} - {0}):
        named = tuple(corpus.vocabulary[number] for number in texts[:size].tolist())
        yield Condition("after" if kind == "after" else "within", named)


def _specific(active: Int64s, quiet: Int64s) -> Int64s:
    """Texts that are more often before firing places, the most telling first."""
    kinds = np.flatnonzero(active + quiet)
    if not len(kinds):
        return kinds
    prior = max(float(active.sum()) / 10, 1.0)
    _, z = dirichlet_log_odds(active[kinds], (active + quiet)[kinds], prior)
    order = np.lexsort((kinds, -z))
    chosen: Int64s = kinds[order[z[order] >= _LEAST_Z]][:_MOST_BEFORE]
    return chosen


def _once(texts: np.ndarray[tuple[int, ...], np.dtype[np.int32]], n_texts: int) -> Int64s:
    return np.bincount(texts[texts != NOTHING], minlength=n_texts)


def _each(windows: np.ndarray[tuple[int, ...], np.dtype[np.int32]], n_texts: int) -> Int64s:
    """How many windows each text is in, however often it is in one."""
    number = np.repeat(np.arange(len(windows)), windows.shape[1])
    texts = windows.ravel()
    pairs = np.unique(number[texts != NOTHING] * n_texts + texts[texts != NOTHING])
    return np.bincount(pairs % n_texts, minlength=n_texts)


def _improve(
    reader: RuleReader,
    sample: Sample,
    rule: Rule,
    candidates: Sequence[Condition],
    held: Sequence[Bools],
) -> tuple[float, Rule]:
    """Adds conditions one by one as long as each makes the rule clearly better."""
    n_positive = len(sample.positives)
    score = reader.scores(rule, sample.rows)
    best = area(score[:n_positive], score[n_positive:])
    left = list(range(len(candidates)))
    while left and len(rule.conditions) < _MOST_CONDITIONS:
        gains = {}
        for index in left:
            tried = score * np.where(held[index], 1.0, REST)
            gains[index] = area(tried[:n_positive], tried[n_positive:])
        chosen = max(gains, key=lambda index: gains[index])
        if gains[chosen] < best + _LEAST_GAIN:
            break
        best = gains[chosen]
        score = score * np.where(held[chosen], 1.0, REST)
        added = candidates[chosen]
        rule = Rule(rule.tokens, (*rule.conditions, added))
        # what stands before is said once, and a circumstance too
        left = [index for index in left if not _says_alike(candidates[index], added)]
    return best, rule


def _says_alike(one: Condition, other: Condition) -> bool:
    if one.kind in ("flag", "no_flag") and other.kind in ("flag", "no_flag"):
        return one.texts == other.texts
    return one.kind == other.kind
