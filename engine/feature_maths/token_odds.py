"""Which tokens, token pairs and circumstances go with a feature: odds against the rest, with n.

Invariant: pure functions of counts. What is rare is drawn towards the whole by a prior, so that a
token seen once does not lead the list; every odds ratio comes with its interval.

Source: Monroe, Colaresi and Quinn 2008, "Fightin' Words", log-odds with an informative Dirichlet
prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.intervals import Z_95, Doubles, wilson_interval

PRIOR_TOKENS = 500.0
"""Weight of the prior: as many tokens as if that much text of the source had been seen before."""


@dataclass(frozen=True, slots=True)
class TokenOdds:
    """How specific a feature is to one token.

    Attributes:
        n_active: tokens with this text on which it fires; n_all: all tokens with this text.
        log_odds: natural logarithm of its odds among the feature's tokens, against its odds among
            the others; z: over its standard error.
        rate: share of the token's occurrences on which it fires, in [rate_low, rate_high] with 95%.
    """

    text: str
    n_active: int
    n_all: int
    log_odds: float
    z: float
    rate: float
    rate_low: float
    rate_high: float


@dataclass(frozen=True, slots=True)
class NgramOdds:
    """How specific a feature is to a sequence of tokens that ends where it fires; as TokenOdds."""

    texts: tuple[str, ...]
    n_active: int
    n_all: int
    log_odds: float
    z: float


@dataclass(frozen=True, slots=True)
class MetadataOdds:
    """How much likelier a feature is in one circumstance.

    Attributes:
        field, value: the circumstance, such as `role` and `user`.
        n_active: tokens in it on which the feature fires; n_all: all tokens in it.
        odds_ratio: odds of firing in it over those elsewhere, in [low, high] with 95%.
    """

    field: str
    value: str
    n_active: int
    n_all: int
    odds_ratio: float
    low: float
    high: float


def dirichlet_log_odds(
    n_active: npt.ArrayLike, n_all: npt.ArrayLike, prior: float = PRIOR_TOKENS
) -> tuple[Doubles, Doubles]:
    """Log-odds of each kind of token among those where a feature fires, and their z.

    Args:
        n_active: [kinds], tokens of the kind on which it fires.
        n_all: [kinds], all tokens of the kind; at least n_active.
        prior: tokens that the prior weighs as much as; it is spread as n_all is.
    """
    active = np.asarray(n_active, np.float64)
    everything = np.asarray(n_all, np.float64)
    rest = np.maximum(everything - active, 0.0)
    alpha = prior * everything / max(everything.sum(), 1.0)
    total = alpha.sum()
    odds = _log_odds(active + alpha, active.sum() + total)
    odds_rest = _log_odds(rest + alpha, rest.sum() + total)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = 1 / (active + alpha) + 1 / (rest + alpha)
        # a feature that fires on everything leaves nothing to compare with: no odds either way
        difference = np.nan_to_num(odds - odds_rest, posinf=0.0, neginf=0.0)
        z = np.nan_to_num(difference / np.sqrt(variance))
    return difference, z


def rank_tokens(
    texts: tuple[str, ...], n_active: npt.ArrayLike, n_all: npt.ArrayLike, limit: int = 20
) -> tuple[TokenOdds, ...]:
    """The tokens that a feature is most specific to, by z.

    Args:
        texts: [kinds]. n_active, n_all: [kinds], as for `dirichlet_log_odds`.
        limit: most tokens returned; only those on which it fires.
    """
    active, everything = np.asarray(n_active, np.int64), np.asarray(n_all, np.int64)
    log_odds, z = dirichlet_log_odds(active, everything)
    low, high = wilson_interval(active, np.maximum(everything, 1))
    order = [index for index in np.argsort(-z, kind="stable").tolist() if active[index] > 0]
    return tuple(
        TokenOdds(
            text=texts[index],
            n_active=int(active[index]),
            n_all=int(everything[index]),
            log_odds=float(log_odds[index]),
            z=float(z[index]),
            rate=float(active[index] / max(everything[index], 1)),
            rate_low=float(low[index]),
            rate_high=float(high[index]),
        )
        for index in order[:limit]
    )


def rank_ngrams(
    places: tuple[tuple[str, ...], ...],
    silent: tuple[tuple[str, ...], ...],
    sizes: tuple[int, ...] = (2, 3),
    limit: int = 20,
) -> tuple[NgramOdds, ...]:
    """Sequences of tokens that end where a feature fires rather than where it is silent, by z.

    Args:
        places: the tokens up to and with each place where it fires; "" where the run had not begun.
        silent: the same of places where it is silent, best on the same tokens.
        sizes: lengths of the sequences.
        limit: most returned.
    """
    found: list[NgramOdds] = []
    for size in sizes:
        firing, quiet = _count_endings(places, size), _count_endings(silent, size)
        kinds = list(dict.fromkeys([*firing, *quiet]))
        active = np.array([firing.get(kind, 0) for kind in kinds], np.float64)
        everything = active + np.array([quiet.get(kind, 0) for kind in kinds], np.float64)
        log_odds, z = dirichlet_log_odds(active, everything, prior=max(len(places), 1) / 2)
        found += [
            NgramOdds(kind, int(active[i]), int(everything[i]), float(log_odds[i]), float(z[i]))
            for i, kind in enumerate(kinds)
            if active[i] >= 2
        ]
    found.sort(key=lambda item: (-item.z, -len(item.texts), item.texts))
    return tuple(found[:limit])


def metadata_odds(
    field: str, value: str, n_active: int, n_all: int, n_active_total: int, n_total: int
) -> MetadataOdds:
    """The odds ratio of one circumstance; half a token is added to each count (Haldane).

    Args:
        field, value: the circumstance.
        n_active, n_all: tokens in it on which the feature fires; all tokens in it.
        n_active_total, n_total: the same of everything.
    """
    a, b = n_active + 0.5, n_all - n_active + 0.5
    c = n_active_total - n_active + 0.5
    d = (n_total - n_all) - (n_active_total - n_active) + 0.5
    log_ratio = float(np.log(a * d / (b * c)))
    half = Z_95 * float(np.sqrt(1 / a + 1 / b + 1 / c + 1 / d))
    ends = np.exp([log_ratio, log_ratio - half, log_ratio + half]).tolist()
    return MetadataOdds(field, value, n_active, n_all, *ends)


def _log_odds(part: Doubles, total: float) -> Doubles:
    with np.errstate(divide="ignore", invalid="ignore"):
        odds: Doubles = np.log(part) - np.log(np.maximum(total - part, 1e-12))
    return odds


def _count_endings(places: tuple[tuple[str, ...], ...], size: int) -> dict[tuple[str, ...], int]:
    counts: dict[tuple[str, ...], int] = {}
    for texts in places:
        ending = texts[-size:]
        if len(ending) == size and "" not in ending:
            counts[ending] = counts.get(ending, 0) + 1
    return counts
