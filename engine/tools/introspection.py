"""Tools with which a model looks into its own features: what they answer comes from the store.

Invariant: every number that is told was measured on what is stored of the source, and what was
never seen is said to be so; text of runs is told without the marks of the chat format, so that no
result can pose as another turn of the chat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.errors import RequestError
from engine.tools.offers import introspection_tools
from engine.tools.running import CallPlace, Steered, Tool, Toolbox, ToolFunction
from store.connection import Store
from store.feature_firing import FiringRepository
from store.feature_records import FeatureRow
from store.feature_search import FeatureSearchRepository
from store.features import FeatureRepository
from store.specs import Intervention

MAX_STRENGTH = 4.0
"""Most times the largest activation ever seen that a model may steer itself by."""

_MAX_RESULTS = 20
_N_RESULTS = 10
_N_CONTEXTS = 3
_MAX_QUERY_CHARS = 200
_MARKS = re.compile(r"</?s>|<\|[^|<>]{0,40}\|>|\[/?[A-Z_]{2,40}\]|</?tool_call>|<(?:bos|eos|pad)>")


def introspection_box(store: Store) -> Toolbox:
    """The introspection tools over a store."""
    looking = _Looking(store)
    functions: Mapping[str, ToolFunction] = {
        "search_features": looking.search_features,
        "inspect_feature": looking.inspect_feature,
        "check_activations": looking.check_activations,
        "steer_feature": looking.steer_feature,
        "compare_features": looking.compare_features,
    }
    return Toolbox(tuple(Tool(spec, functions[spec.name]) for spec in introspection_tools()))


class _Looking:
    """What the tools do; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._features = FeatureRepository(store)
        self._search = FeatureSearchRepository(store)
        self._firing = FiringRepository(store)

    def search_features(self, arguments: Mapping[str, Any], place: CallPlace) -> object:
        query = " ".join(str(arguments["query"]).split())[:_MAX_QUERY_CHARS]
        if not query:
            raise RequestError("The query is empty.", "Give a word.")
        limit = min(max(arguments.get("limit", _N_RESULTS), 1), _MAX_RESULTS)
        words = query.replace('"', " ").replace("\\", " ").strip()
        page = self._search.search_features(place.source_id, f'"{words}"', limit=limit)
        found: list[dict[str, object]] = [
            {"feature": row.feature, "label": row.label, "found_by": "label"} for row in page.rows
        ]
        known = {item["feature"] for item in found}
        firings = self._firing.search_by_text(place.source_id, query, limit=limit).rows
        for firing in firings[: limit - len(found)] if len(found) < limit else ():
            if firing.row.feature not in known:
                share = round(firing.share_of_text, 3)
                found.append(
                    {
                        "feature": firing.row.feature,
                        "label": firing.row.label,
                        "found_by": "tokens",
                        "active_on_share_of_them": share,
                    }
                )
        return {"query": query, "features": found}

    def inspect_feature(self, arguments: Mapping[str, Any], place: CallPlace) -> object:
        feature = arguments["feature"]
        stats = self._features.get_feature_stats(place.source_id, feature)
        contexts = self._features.list_top_contexts(place.source_id, feature, _N_CONTEXTS)
        return {
            "feature": feature,
            "label": stats.label,
            "tokens_active": stats.n_tokens_active,
            "share_of_tokens": _rounded(stats.density),
            "largest_activation": _rounded(stats.max_value),
            "mean_activation": _rounded(stats.mean_value),
            "strongest_at": [
                {
                    "text": _plain(context.before + "»" + context.text + "«" + context.after),
                    "activation": _rounded(context.value),
                }
                for context in contexts
            ],
        }

    def check_activations(self, arguments: Mapping[str, Any], place: CallPlace) -> object:
        wanted: Sequence[int] | None = arguments.get("features")
        if wanted is not None and len(wanted) > _MAX_RESULTS:
            raise RequestError(f"At most {_MAX_RESULTS} features at once.", "Ask for fewer.")
        limit = _N_RESULTS if wanted is None else 2**31 - 1
        firing = self._firing.list_firing(
            place.run_key, metric="relative", limit=limit, show_all=wanted is not None
        )
        active = {item.row.feature: _active(item.row, item.value) for item in firing.rows}
        if wanted is None:
            return {"active": list(active.values()), "n_active": firing.n_found}
        for feature in wanted:
            # a feature that the source does not have is told apart from one that is silent
            self._features.get_feature_stats(place.source_id, feature)
        silent = {"activation": 0}
        return {
            "active": [active.get(feature, {"feature": feature} | silent) for feature in wanted]
        }

    def steer_feature(self, arguments: Mapping[str, Any], place: CallPlace) -> object:
        feature, strength = arguments["feature"], float(arguments["strength"])
        if not abs(strength) <= MAX_STRENGTH:
            raise RequestError(
                f"The strength {strength:g} is not between -{MAX_STRENGTH:g} and {MAX_STRENGTH:g}.",
                "Choose a smaller one.",
            )
        stats = self._features.get_feature_stats(place.source_id, feature)
        if not stats.n_tokens_active:
            raise RequestError(
                f"Feature {feature} has never fired on what is stored: its scale is not known.",
                "Choose another one.",
            )
        told = {
            "feature": feature,
            "label": stats.label,
            "strength": _rounded(strength),
            "added_activation": _rounded(strength * stats.max_value),
            "applies_to": "everything that you generate from here on",
        }
        wanted = Intervention("add", strength, feature=feature, unit="max", positions="generated")
        return Steered(told, wanted)

    def compare_features(self, arguments: Mapping[str, Any], place: CallPlace) -> object:
        first, second = arguments["first"], arguments["second"]
        both = [self._features.get_feature_stats(place.source_id, one) for one in (first, second)]
        together = self._firing.get_coactivations(place.source_id, first, min_together=1)
        shares = dict(zip(together.feature.tolist(), together.share.tolist(), strict=True))
        return {
            "features": [
                {
                    "feature": stats.feature,
                    "label": stats.label,
                    "tokens_active": stats.n_tokens_active,
                    "largest_activation": _rounded(stats.max_value),
                }
                for stats in both
            ],
            "share_of_first_with_second": _rounded(shares.get(second, 0.0)),
            "tokens_looked_at": together.n_places,
        }


def _active(row: FeatureRow, value: float) -> dict[str, object]:
    return {
        "feature": row.feature,
        "label": row.label,
        "activation": _rounded(value),
        "largest_activation": _rounded(row.max_value),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _plain(text: str) -> str:
    return _MARKS.sub(" ", text).strip()
