"""When an intervention applies: always, or where a feature or a vector is above a threshold.

Invariant: a condition in, a condition out. One over many features, as a sweep fits it, is kept as
it is but for its threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, cast

import streamlit as st

from store.errors import InvalidSpecError
from store.specs import Condition

_ALWAYS, _FEATURE, _VECTOR, _GATE = "always", "if a feature", "if a vector", "by the fitted gate"


def condition_form(
    condition: Condition | None, vectors: Mapping[str, str], n_layers: int | None, key: str
) -> Condition | None:
    """Draws the form; None is always.

    Args:
        condition: as the form begins.
        vectors: that can be chosen: ids by names.
        n_layers: of the model, if it is known.
        key: of the widgets.
    """
    st.text("When does it apply?")
    is_gate = condition is not None and (len(condition.features) > 1 or condition.bias != 0.0)
    first = _ALWAYS
    if condition is not None:
        first = _GATE if is_gate else (_FEATURE if condition.features else _VECTOR)
    options = [_ALWAYS, _FEATURE, _VECTOR, *([_GATE] if is_gate else [])]
    chosen = st.segmented_control(
        "When",
        options,
        default=first,
        required=True,
        key=f"when-{key}",
        label_visibility="collapsed",
    )
    if chosen == _ALWAYS or chosen is None:
        st.caption("On every token that was chosen.")
        return None
    if chosen == _GATE and condition is not None:
        what = f"{len(condition.features):,} features" if condition.features else "a vector"
        st.text(f"A score over {what}, fitted by a sweep, read {_where(condition.at)}.")
        threshold = st.number_input(
            "Threshold", value=condition.threshold, format="%.4g", key=f"gate_threshold-{key}"
        )
        return replace(condition, threshold=float(threshold))
    old = condition if chosen == first else None
    return _simple(old, chosen == _FEATURE, vectors, n_layers, key)


def _simple(
    old: Condition | None,
    is_feature: bool,
    vectors: Mapping[str, str],
    n_layers: int | None,
    key: str,
) -> Condition | None:
    key = f"{key}-{is_feature}"
    feature: int | None = None
    vector_id: str | None = None
    measure, layer = "dot", None
    if is_feature:
        feature = st.number_input(
            "Feature", 0, value=old.features[0] if old else None, step=1, key=f"if_feature-{key}"
        )
    else:
        names = {vector_id: name for name, vector_id in vectors.items()}
        if old and old.vector_id and old.vector_id not in names:
            names[old.vector_id] = f"vector {old.vector_id}"
        ids = list(names)
        vector_id = st.selectbox(
            "Vector",
            ids,
            index=ids.index(old.vector_id) if old and old.vector_id else None,
            format_func=lambda item: names[item],
            placeholder="choose a vector",
            key=f"if_vector-{key}",
        )
        measure = st.selectbox(
            "Measured by",
            ("dot", "cosine"),
            index=int(old is not None and old.measure == "cosine"),
            key=f"if_measure-{key}",
        )
        layers: list[int | None] = [None, *range(n_layers or 0)]
        layer = st.selectbox(
            "Read after layer",
            layers,
            index=layers.index(old.layer) if old and old.layer in layers else 0,
            format_func=lambda item: "its own" if item is None else str(item),
            key=f"if_layer-{key}",
        )
    side = st.segmented_control(
        "Side",
        ("above", "below"),
        default=old.side if old else "above",
        required=True,
        key=f"if_side-{key}",
    )
    threshold = st.number_input(
        "Threshold", value=old.threshold if old else 0.0, format="%.4g", key=f"if_threshold-{key}"
    )
    at = st.segmented_control(
        "Read",
        ("here", "last_prompt"),
        default=old.at if old else "last_prompt",
        required=True,
        format_func=_where,
        key=f"if_at-{key}",
        help="On each token for itself, or once on the last token of the prompt for the whole run.",
    )
    if feature is None and vector_id is None:
        st.caption("Without a feature or a vector it applies always.")
        return None
    try:
        return Condition(
            threshold=float(threshold),
            features=() if feature is None else (int(feature),),
            vector_id=vector_id,
            measure=cast('Literal["dot", "cosine"]', measure),
            side=side,
            at=at,
            layer=layer,
        )
    except InvalidSpecError as error:
        st.text(f"{error.message} {error.hint}")
        return None


def _where(at: str) -> str:
    return "on each token" if at == "here" else "on the last prompt token"
