"""What a feature fires on, what it boosts, and which features go with it: drawn from data.

Invariant: nothing is fetched here; every table says what its numbers are counted over, and those of
a toy say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.components.feature_table import LABEL, Cell, Column, feature_table
from dashboard.components.token_table import NumberColumn, token_table
from dashboard.feature_charts import lens_chart
from engine.api import FeatureDirections, FiresOn
from store.feature_firing import Coactivations

N_TOKENS = 10
N_NEAR = 12
_ODDS = (
    NumberColumn("fires", "percent", "Share of the token's occurrences on which it fires."),
    NumberColumn("of", "count", "Occurrences of the token among what was counted."),
    NumberColumn("z", "value", "Log-odds of the token, over its standard error.", bar=True),
)
_NGRAM = (
    NumberColumn("fires", "count", "Places that end so and on which it fires."),
    NumberColumn("of", "count", "Places that end so, silent ones on like tokens included."),
    NumberColumn("z", "value", "Log-odds of the sequence, over its standard error.", bar=True),
)
_CIRCUMSTANCE = (
    NumberColumn("odds ratio", "value", "Odds of firing there over those elsewhere."),
    NumberColumn("95%", "text", "Interval of the odds ratio."),
    NumberColumn("of", "count", "Tokens in this circumstance."),
)
_LOGIT = (NumberColumn("logit", "signed", "Change of the logit for one unit of activation."),)
NEAREST = (
    Column("feature", "feature", "Index of the feature in its SAE."),
    LABEL,
    Column("cosine", "signed", "Of the two decoder directions."),
)
TOGETHER = (
    Column("feature", "feature", "Index of the feature in its SAE."),
    LABEL,
    Column("phi", "value", "Correlation of firing: corrects for how dense both are.", bar=True),
    Column("share", "percent", "Of this feature's sampled tokens, on how many it fires too."),
    Column("PMI", "value", "How many times more often than by chance, natural logarithm."),
    Column("density", "percent", "Of all stored tokens."),
)


def fires_on_panel(found: FiresOn, key: str) -> None:
    """Tokens, sequences and circumstances that go with the feature."""
    if not found.tokens:
        st.caption("It has not fired often enough to tell what it fires on.")
        return
    token_table(
        "token",
        _ODDS,
        [((t.text,), (t.rate, t.n_all, t.z)) for t in found.tokens[:N_TOKENS]],
        key=f"odds-{key}",
    )
    if found.ngrams:
        token_table(
            "sequence, ending where it fires",
            _NGRAM,
            [(n.texts, (n.n_active, n.n_all, n.z)) for n in found.ngrams[: N_TOKENS - 2]],
            key=f"ngrams-{key}",
        )
    if found.circumstances:
        token_table(
            "circumstance",
            _CIRCUMSTANCE,
            [
                ((c.value,), (c.odds_ratio, f"{c.low:.3g} to {c.high:.3g}", c.n_all))
                for c in found.circumstances[:4]
            ],
            key=f"circumstances-{key}",
            is_tokens=False,
        )
    sampled = "" if found.n_places >= found.n_active else ", a sample"
    st.caption(f"Counted on {found.n_places:,} of its {found.n_active:,} active tokens{sampled}.")


def boosts_panel(found: FeatureDirections, unit: str, key: str) -> None:
    """Tokens that the feature makes likelier, and less likely, by the logit lens."""
    lens = found.lens
    if lens is None:
        st.text(found.lens_problem or "The logit lens cannot be read for this source.")
        return
    top, bottom = st.columns(2, gap="small")
    with top:
        token_table(
            "makes likelier",
            _LOGIT,
            [((t.text,), (t.logit,)) for t in lens.top[:N_TOKENS]],
            key=f"lens_top-{key}",
        )
    with bottom:
        token_table(
            "makes less likely",
            _LOGIT,
            [((t.text,), (t.logit,)) for t in lens.bottom[:N_TOKENS]],
            key=f"lens_bottom-{key}",
        )
    st.altair_chart(lens_chart(lens.bins), key=f"lens_chart-{key}")
    notes = "".join(f" {note}" for note in lens.notes)
    st.caption(f"All tokens by logit{unit}.", help=lens.convention + notes)


def nearest_panel(
    found: FeatureDirections, labels: Mapping[int, str], source: str, key: str
) -> None:
    """Features whose decoder directions point the same way, and the opposite one."""
    near = [*found.nearest[:N_NEAR], *found.opposite[:4]]
    rows: list[list[Cell]] = [[n.feature, labels.get(n.feature), n.cosine] for n in near]
    feature_table(NEAREST, rows, None, f"nearest-{key}", None, source)
    st.caption("By cosine of the decoder directions; below zero: the opposite way.")


def together_panel(found: Coactivations, labels: Mapping[int, str], source: str, key: str) -> None:
    """Features that fire on the same tokens more often than by chance."""
    if not len(found):
        st.caption("No other feature fires with it often enough.")
        return
    shown = range(min(N_NEAR, len(found)))
    rows: list[list[Cell]] = [
        [
            int(found.feature[i]),
            labels.get(int(found.feature[i])),
            float(found.phi[i]),
            float(found.share[i]),
            float(found.pmi[i]),
            float(found.density[i]),
        ]
        for i in shown
    ]
    feature_table(TOGETHER, rows, None, f"together-{key}", None, source)
    st.caption(
        f"By correlation of firing, on {found.n_places:,} of its "
        f"{found.n_tokens_active:,} active tokens."
    )


def near_features(found: FeatureDirections | None, together: Coactivations) -> Sequence[int]:
    """The features that the two tables show, for their labels."""
    near = [] if found is None else [*found.nearest[:N_NEAR], *found.opposite[:4]]
    return [*(item.feature for item in near), *map(int, together.feature[:N_NEAR])]
