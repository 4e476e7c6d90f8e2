"""What every detector is measured against: token statistics, words, dense probes, the old method.

Invariant: statistics have a direction that was fixed before any run was seen; what is learned is
learned from training runs alone. A baseline that cannot be computed says so instead of vanishing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from engine.detection.arrays import BoolArray, FloatArray
from engine.detection.candidates import eligible_features
from engine.detection.fitted import Fitted, Unavailable
from engine.detection.fitting import (
    L1_STRENGTHS,
    L2_STRENGTHS,
    Probe,
    fit_difference_of_means,
    fit_logistic,
    refit_logistic,
)
from engine.detection.metrics import auroc
from engine.detection.models import SITE_TITLES, LinearModel, Site
from engine.detection.set_methods import regime_distance, set_difference
from engine.detection.table import DetectionTable, shuffle_labels

PROBABILITY_METHODS = frozenset(
    "mean_logprob min_logprob perplexity max_entropy mean_entropy value_logprob value_entropy "
    "first_logprob first_entropy value_margin first_margin".split()
)
"""Baselines that a model's own probabilities give: what detectors are to be better than."""

STATISTIC_TITLES = {
    "mean_logprob": "mean logprob of the answer",
    "min_logprob": "smallest logprob of the answer",
    "perplexity": "perplexity of the answer",
    "max_entropy": "largest entropy of the answer",
    "mean_entropy": "mean entropy of the answer",
    "value_logprob": "logprob of the value's tokens",
    "value_entropy": "entropy at the value's tokens",
    "first_logprob": "logprob of the first answer token",
    "first_entropy": "entropy at the first answer token",
}
_MARGIN_TITLES = {"value": "top-2 margin at the value", "first": "top-2 margin at the first token"}
_N_RANDOM = 16
_N_SHUFFLES = 20
_SEED = 11


def fit_baselines(
    table: DetectionTable, train: BoolArray, test: BoolArray, best_site: Site
) -> Iterator[Fitted | Unavailable]:
    """All baselines, as they are done.

    Args:
        table: the runs.
        train: [n], those that may be learned from.
        test: [n], those that are held out; only to say how far shuffled labels spread on them.
        best_site: of the features; random features and shuffled labels are read there.
    """
    n = len(table)
    rate = float(table.y[train].mean())
    yield _of("base rate", "base_rate", np.full(n, rate), f"{rate:.0%} of the training answers.")
    yield _length(table, train)
    yield question_words(table, train)
    for name, title in STATISTIC_TITLES.items():
        yield _statistic(table, name, title, train)
    for name, title in _MARGIN_TITLES.items():
        yield _margin(table, name, title)
    yield _p_true(table)
    yield from _dense(table, train)
    yield from _top_features(table, train)
    values = table.features.get(best_site)
    if values is not None:
        yield from _nulls(table, train, test, best_site, values)


def question_words(table: DetectionTable, train: BoolArray) -> Fitted | Unavailable:
    """A bag of the question's words."""
    rows = word_rows(table.questions, train)
    if not rows.shape[1]:
        return Unavailable("question words", "question_words", "The questions have no words.")
    probe = fit_logistic(
        sp.csr_array(rows[train]), table.y[train], table.groups[train], L2_STRENGTHS
    )
    return Fitted(
        "question words",
        "baseline",
        "question_words",
        "question",
        f"Bag of {rows.shape[1]:,} words of the question; the answer is not seen.",
        rows.shape[1],
        probe.score(rows),
        inner_auroc=probe.inner_auroc,
    )


def word_rows(texts: tuple[str, ...], train: BoolArray) -> sp.csr_array:
    """Words of texts as 0 or 1, [n, words]; only those of two training texts or more."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=r"\w+", lowercase=True, binary=True, min_df=2)
    seen = [text for text, inside in zip(texts, train, strict=True) if inside]
    try:
        counter.fit(seen)
    except ValueError:  # no word stands in two of them
        return sp.csr_array((len(texts), 0))
    return sp.csr_array(counter.transform(texts), dtype=np.float64)


def filled(values: FloatArray, train: BoolArray) -> FloatArray:
    """Values with the training median where one is not known."""
    known = values[train & np.isfinite(values)]
    return np.where(np.isfinite(values), values, np.median(known) if len(known) else 0.0)


def _of(name: str, method: str, score: FloatArray, note: str, site: str = "") -> Fitted:
    return Fitted(name, "baseline", method, site, note, 0, score)


def _length(table: DetectionTable, train: BoolArray) -> Fitted:
    length = table.n_generated.astype(np.float64)
    sign = 1.0 if float(auroc(table.y[train], length[train])[0]) >= 0.5 else -1.0
    side = "Longer" if sign > 0 else "Shorter"
    return Fitted(
        "answer length",
        "baseline",
        "answer_length",
        "answer",
        f"{side} answers are more often made up in training.",
        0,
        sign * length,
        LinearModel("statistic", None, ("n_generated",), (sign,), 0.0),
    )


def _statistic(
    table: DetectionTable, name: str, title: str, train: BoolArray
) -> Fitted | Unavailable:
    values = table.statistics.get(name)
    if values is None or not np.isfinite(values).any():
        return Unavailable(title, name, "No answer of these runs has such a token.")
    n_missing = int((~np.isfinite(values)).sum())
    missing = f" Not found in {n_missing:,} answers: the median instead." if n_missing else ""
    return Fitted(
        title,
        "baseline",
        name,
        title.rpartition(" of the ")[2] if " of the " in title else title.rpartition(" the ")[2],
        f"{'Lower' if 'logprob' in name else 'Higher'} is more suspicious.{missing}",
        0,
        filled(values, train),
        LinearModel("statistic", None, (name,), (1.0,), 0.0),
    )


def _margin(table: DetectionTable, name: str, title: str) -> Fitted | Unavailable:
    margin = table.residuals.margins.get(name)
    if margin is None or not np.isfinite(margin).any():
        reason = table.residuals.problem or "No answer of these runs has such a token."
        return Unavailable(title, f"{name}_margin", f"It is not stored: {reason}")
    everywhere = np.ones(len(margin), np.bool_)
    note = "A smaller margin is more suspicious; computed again from the model."
    return _of(title, f"{name}_margin", -filled(margin, everywhere), note, name)


def _p_true(table: DetectionTable) -> Fitted | Unavailable:
    if table.p_true is None:
        return Unavailable("P(True)", "p_true", table.p_true_problem or "The model was not asked.")
    everywhere = np.ones(len(table), np.bool_)
    note = "One minus the probability that the model gives to its own answer being true."
    return _of("P(True)", "p_true", filled(table.p_true, everywhere), note, "a question of its own")


def _dense(table: DetectionTable, train: BoolArray) -> Iterator[Fitted | Unavailable]:
    if not table.residuals.by_site:
        for name, method in (
            ("dense probe", "dense_logistic"),
            ("difference of means", "mean_difference"),
        ):
            yield Unavailable(
                name, method, table.residuals.problem or "No residuals were computed."
            )
        return
    y, groups = table.y, table.groups
    for site, rows in table.residuals.by_site.items():
        probe = fit_logistic(rows[train], y[train], groups[train], L2_STRENGTHS)
        note = f"Logistic on all {rows.shape[1]:,} dimensions of the residual."
        yield _dense_of("dense probe", "dense_logistic", site, rows, probe, note)
        means = fit_difference_of_means(rows[train], y[train])
        note = "Projection onto the difference of the class means."
        yield _dense_of("difference of means", "mean_difference", site, rows, means, note)


def _dense_of(
    name: str, method: str, site: Site, rows: FloatArray, probe: Probe, note: str
) -> Fitted:
    dimensions = tuple(str(index) for index in range(rows.shape[1]))
    return Fitted(
        f"{name}, {SITE_TITLES[site]}",
        "baseline",
        method,
        SITE_TITLES[site],
        note,
        rows.shape[1],
        probe.score(rows),
        LinearModel("residual", site, dimensions, tuple(probe.weights.tolist()), probe.intercept),
        probe.inner_auroc,
    )


def _top_features(table: DetectionTable, train: BoolArray) -> Iterator[Fitted]:
    """The earlier analysis: the strongest features of the last token, as sets and as a distance."""
    values = table.features.get("prompt_last")
    if values is not None:
        yield regime_distance(table, values, train)
        yield set_difference(table, values, train)


def _nulls(
    table: DetectionTable, train: BoolArray, test: BoolArray, site: Site, values: sp.csr_array
) -> Iterator[Fitted]:
    eligible = eligible_features(values, table.groups, train)
    if not len(eligible):
        return
    random = np.random.default_rng(_SEED)
    chosen = np.sort(random.choice(eligible, min(_N_RANDOM, len(eligible)), replace=False))
    rows = sp.csr_array(values[:, chosen])
    probe = fit_logistic(rows[train], table.y[train], table.groups[train], L2_STRENGTHS)
    note = f"{len(chosen)} features drawn by lot, then trained."
    yield _null("random features", "random_features", site, note, len(chosen), probe.score(rows))
    yield _shuffled(table, train, test, site, sp.csr_array(values[:, eligible]))


def _shuffled(
    table: DetectionTable, train: BoolArray, test: BoolArray, site: Site, rows: sp.csr_array
) -> Fitted:
    """The L1 logistic trained on labels of other groups, several times; the middle one is shown."""
    scores, reached = [], []
    for seed in range(_N_SHUFFLES):
        y = shuffle_labels(table.y, table.groups, seed)[train]
        if y.any() and not y.all():
            probe = refit_logistic(rows[train], y, L1_STRENGTHS[-1], is_l1=True)
            scores.append(probe.score(rows))
            reached.append(float(auroc(table.y[test], scores[-1][test])[0]))
    name, method = "shuffled labels", "shuffled_labels"
    if not scores:
        note = "The shuffled labels had one class only."
        return _null(name, method, site, note, 0, np.zeros(len(table)))
    middle = int(np.argsort(reached)[len(reached) // 2])
    note = (
        f"The L1 logistic trained on labels of other groups, {len(scores)} times: AUROC "
        f"{min(reached):.2f} to {max(reached):.2f} on the true ones; the middle one is shown."
    )
    return _null(name, method, site, note, rows.shape[1], scores[middle])


def _null(
    name: str, method: str, site: Site, note: str, n_features: int, score: FloatArray
) -> Fitted:
    return Fitted(name, "baseline", method, SITE_TITLES[site], note, n_features, score)
