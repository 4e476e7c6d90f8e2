"""What colours the tokens: a feature's activation, or a number of the model itself. Pure.

Invariant: one sequential ramp; 0 is the background, 1 the accent, and the legend says what 1 is.
What has a sign has the one diverging ramp: more is the accent, less is brown.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from dashboard.links import Colour
from dashboard.run_view import RunView
from engine.api import LiveScore

_FAINTEST = 0.08
"""The least shade of a value above zero, so that it can be told from zero."""


@dataclass(frozen=True, slots=True)
class Shading:
    """A value for some positions of a run.

    Attributes:
        title: of the legend; short: of the value beside a token; none: of a position without one.
        values: by position.
        maximum: the value of the full accent.
        low, high: what the ends of the ramp are called.
        is_signed: whether values below zero are shaded too, on the other side of the ramp.
    """

    title: str
    short: str
    none: str
    values: dict[int, float]
    maximum: float
    low: str
    high: str
    is_signed: bool = False

    def shade(self, position: int) -> float | None:
        """Between 0 and 1, below 0 if it is signed; None where there is no value or it is zero."""
        value = self.values.get(position)
        if not value or self.maximum <= 0 or (value < 0 and not self.is_signed):
            return None
        size = min(1.0, max(_FAINTEST, abs(value) / self.maximum))
        return size if value > 0 else -size


def feature_shading(view: RunView, feature: int, label: str | None) -> Shading:
    """Shades tokens by the activation of one feature."""
    values = view.feature_values(feature)
    maximum = max(values.values(), default=0.0)
    name = f"feature {feature}" + (f": {label}" if label else "")
    where = f"active on {len(values):,} of {len(view.tokens):,} tokens"
    return Shading(
        title=f"{name}, {where}" if values else f"{name} is not active in this run",
        short=f"feature {feature}",
        none="0",
        values=values,
        maximum=maximum,
        low="0",
        high=f"max {maximum:.3g}",
    )


def model_shading(view: RunView, colour: Colour) -> Shading:
    """Shades tokens by a number of the model: surprise, entropy or count of features."""
    if colour == "surprise":
        values = {
            token.position: 1 - exp(token.logprob)
            for token in view.tokens
            if token.logprob is not None
        }
        return Shading("surprise: 1 − probability", "surprise", "–", values, 1.0, "0", "1")
    if colour == "entropy":
        values = {t.position: t.entropy for t in view.tokens if t.entropy is not None}
        high = max(values.values(), default=0.0)
        title = "entropy of the prediction, nats"
        return Shading(title, "entropy", "–", values, high, "0", f"max {high:.3g}")
    values = {token.position: float(token.n_active) for token in view.tokens}
    high = max(values.values(), default=0.0)
    return Shading("active features", "active", "–", values, high, "0", f"max {high:.0f}")


def detector_shading(score: LiveScore) -> Shading:
    """Shades tokens by what each adds to a detector's score."""
    values = {item.position: item.contribution for item in score.tokens}
    high = max((abs(value) for value in values.values()), default=0.0)
    some = "1 token carries it" if len(values) == 1 else f"{len(values):,} tokens carry it"
    carries = some if values else "no single token carries it"
    return Shading(
        title=f"{score.name}: {carries}",
        short="adds",
        none="0",
        values=values,
        maximum=high,
        low=f"−{high:.3g}",
        high=f"+{high:.3g} more suspicious",
        is_signed=True,
    )
