"""How well something predicts where a feature fires, on contexts that it was not made from.

Half of what is asked are places where the feature fires, from all over its values. The others are
silent: of them as many stand on the same tokens (hard negatives) as occur by nature, at most all;
the rest are anywhere. A rule that only names a token scores well if the feature fires whenever the
token comes, and about a half if it fires on it as often as not.

Invariant: pure; the same corpus and feature give the same sample.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.labelling.corpus import Corpus, Int64s
from engine.labelling.rules import Doubles

MOST_POSITIVES = 200
FEWEST_POSITIVES = 10
FEWEST_HARD = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """Places that a prediction is judged on.

    Attributes:
        positives: tokens on which the feature fires, strongest first.
        hard: silent tokens of the same texts. other: silent tokens of any text.
    """

    positives: Int64s
    hard: Int64s
    other: Int64s

    @property
    def rows(self) -> Int64s:
        """All places: positives, hard, other."""
        return np.concatenate([self.positives, self.hard, self.other])

    @property
    def n_negatives(self) -> int:
        """Silent places."""
        return len(self.hard) + len(self.other)


@dataclass(frozen=True, slots=True)
class Score:
    """How well a prediction holds.

    Attributes:
        auroc: over all places; 0.5 is chance.
        auroc_hard: over the hard negatives alone; None if they are fewer than ten.
    """

    auroc: float
    auroc_hard: float | None
    n_positive: int
    n_hard: int
    n_other: int


def draw_sample(
    corpus: Corpus, feature: int, is_held_out: bool, most: int = MOST_POSITIVES
) -> Sample:
    """Places of one half of a corpus; of firing places as many as of silent ones.

    Args:
        corpus: the tokens.
        feature: whose firing is asked for.
        is_held_out: which half.
        most: most places where it fires.
    """
    generator = np.random.default_rng([feature, int(is_held_out)])
    rows, values = corpus.places(feature)
    inside = corpus.is_held_out[rows] == is_held_out
    rows, values = rows[inside], values[inside]
    firing = np.zeros(corpus.n_tokens, bool)
    firing[rows] = True
    in_half = corpus.is_held_out == is_held_out
    on_text = np.zeros(len(corpus.vocabulary), bool)
    on_text[corpus.text_id[rows]] = True
    silent = in_half & ~firing
    same_text = on_text[corpus.text_id]
    hard = np.flatnonzero(silent & same_text)
    positives = _by_quantile(rows, values, most)
    n_positive = len(positives)
    natural = len(hard) * n_positive / max(len(rows), 1)
    n_hard = min(n_positive, len(hard), round(natural))
    # what stands on the same tokens has its own share: the others are drawn from all other tokens
    other = np.flatnonzero(silent & ~same_text)
    n_other = min(n_positive - n_hard, len(other))
    return Sample(
        positives=positives,
        hard=np.sort(generator.choice(hard, n_hard, replace=False)),
        other=np.sort(generator.choice(other, n_other, replace=False)),
    )


def score_prediction(predicted: Doubles, sample: Sample) -> Score:
    """Judges a prediction.

    Args:
        predicted: [rows of the sample], larger where it expects the feature to fire.
        sample: with at least one firing and one silent place.
    """
    n_positive, n_hard = len(sample.positives), len(sample.hard)
    positives, hard = predicted[:n_positive], predicted[n_positive : n_positive + n_hard]
    return Score(
        auroc=area(positives, predicted[n_positive:]),
        auroc_hard=area(positives, hard) if n_hard >= FEWEST_HARD else None,
        n_positive=n_positive,
        n_hard=n_hard,
        n_other=len(sample.other),
    )


def area(positives: Doubles, negatives: Doubles) -> float:
    """Probability that a firing place gets the larger prediction, ties counting half."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, "left")
    up_to = np.searchsorted(ordered, positives, "right")
    return float((below + up_to).mean() / (2 * len(negatives)))


def _by_quantile(rows: Int64s, values: npt.NDArray[np.float32], most: int) -> Int64s:
    """So many of the rows, evenly over their values, the strongest first."""
    order = np.lexsort((rows, -values))
    if len(order) > most:
        order = order[np.linspace(0, len(order) - 1, most).round().astype(np.int64)]
    chosen: Int64s = rows[order]
    return chosen
