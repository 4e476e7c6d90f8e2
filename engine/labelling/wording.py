"""Rules in words: "fires on ...; boosts ...; odds ...".

Invariant: every part says something that was measured, and what a rule tests is said whole in kind
(tokens, what stands before, circumstances), though of many tokens only the first are named. Tokens
are quoted as they are; whoever shows the words treats them as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.feature_maths.logit_lens import LogitLens
from engine.feature_maths.token_odds import MetadataOdds
from engine.labelling.rules import Condition, Rule

_N_NAMED = 4
_N_BOOSTED = 3
_BOOST_Z = 4.0
"""Standard deviations over the vocabulary from which a token is said to be boosted."""
_CLASS_SHARE = 0.85
_FEWEST_OF_CLASS = 3
_MOST_TOKEN_CHARS = 24
_NOTABLE_ODDS = 3.0
_MOST_ODDS = 100


def describe(
    rule: Rule,
    classes: Mapping[str, frozenset[str]],
    lens: LogitLens | None,
    odds: Sequence[MetadataOdds],
) -> str:
    """A label from a rule and what else was measured.

    Args:
        rule: where the feature fires.
        classes: named sets of tokens, such as the surnames of a made-up world.
        lens: of the feature, where there is one.
        odds: circumstances and their odds, the strongest first.
    """
    parts = [f"fires on {_tokens(rule, classes)}{_conditions(rule.conditions, classes)}"]
    if boosted := _boosted(lens, classes):
        parts.append(f"boosts {boosted}")
    named = {text for item in rule.conditions for text in item.texts}
    if notable := [item for item in odds if item.value not in named and _is_notable(item)]:
        times = notable[0].odds_ratio
        shown = f"over {_MOST_ODDS}" if times > _MOST_ODDS else f"{times:.0f}"
        parts.append(f"odds {shown} times as high {notable[0].value}")
    return "; ".join(parts)


def quote(text: str) -> str:
    """A token in quotes, with line breaks visible and its leading space left out."""
    shown = text.strip(" ") or text
    shown = shown.replace("\n", "\u21b5").replace("\t", "\u21e5")
    if len(shown) > _MOST_TOKEN_CHARS:
        shown = f"{shown[: _MOST_TOKEN_CHARS - 1]}\u2026"
    return f"\u201c{shown}\u201d"


def _tokens(rule: Rule, classes: Mapping[str, frozenset[str]]) -> str:
    if not rule.tokens:
        return "any token"
    return _listed(list(rule.tokens), classes)


def _conditions(conditions: Sequence[Condition], classes: Mapping[str, frozenset[str]]) -> str:
    words = []
    for item in conditions:
        if item.kind == "after":
            words.append(f" after {_listed(list(item.texts), classes)}")
        elif item.kind == "within":
            words.append(f" soon after {_listed(list(item.texts), classes)}")
        elif item.kind == "flag":
            words.append(f" {item.texts[0]}")
        else:
            words.append(f" not {item.texts[0]}")
    return ",".join(words) if len(words) > 1 else "".join(words)


def _listed(texts: list[str], classes: Mapping[str, frozenset[str]]) -> str:
    named = ", ".join(quote(text) for text in texts[:_N_NAMED])
    for name, members in classes.items():
        if _belong(texts, members):
            rest = ", \u2026" if len(texts) > _N_NAMED else ""
            return f"{name} ({named}{rest})"
    n_more = len(texts) - _N_NAMED
    return f"{named} and {n_more} more" if n_more > 0 else named


def _boosted(lens: LogitLens | None, classes: Mapping[str, frozenset[str]]) -> str:
    """The tokens that stand out at the upper end of the logits, if any does."""
    if lens is None or not lens.bins:
        return ""
    n_all = sum(item.n_tokens for item in lens.bins)
    middles = [(item.low + item.high) / 2 for item in lens.bins]
    mean = sum(m * item.n_tokens for m, item in zip(middles, lens.bins, strict=True)) / n_all
    square = sum((m - mean) ** 2 * b.n_tokens for m, b in zip(middles, lens.bins, strict=True))
    least = mean + _BOOST_Z * (square / n_all) ** 0.5
    texts = [item.text for item in lens.top if item.logit >= least]
    if not texts:
        return ""
    for name, members in classes.items():
        if _belong(texts, members):
            return f"{name} ({', '.join(quote(text) for text in texts[:_N_BOOSTED])})"
    return ", ".join(quote(text) for text in texts[:_N_BOOSTED])


def _belong(texts: Sequence[str], members: frozenset[str]) -> bool:
    inside = sum(text.strip() in members for text in texts)
    return len(texts) >= _FEWEST_OF_CLASS and inside >= _CLASS_SHARE * len(texts)


def _is_notable(item: MetadataOdds) -> bool:
    return item.low > 1.0 and item.odds_ratio >= _NOTABLE_ODDS
