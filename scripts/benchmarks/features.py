"""What the pages about features read: one feature, searches, comparisons, at the size of a store.

Invariant: every figure is of what a page asks for, texts and labels included, on a store that was
filled and merged through the public write path. Beside the times stand the bounds of what is read.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

from scripts.benchmarks.activation_data import RUN_ACTIVATIONS, SOURCE_ID, make_corpus
from scripts.benchmarks.figures import Comparison, seconds, to_side
from scripts.benchmarks.store_scale import fill_runs
from store.cohorts import PAGE_MAXIMA, CohortRepository
from store.connection import Store
from store.feature_contexts import MAX_EXAMINED, ContextRepository
from store.feature_firing import FiringRepository
from store.feature_lists import FeatureListRepository
from store.feature_records import ContextFilter, NewLabel
from store.feature_search import FeatureSearchRepository
from store.feature_tokens import FeatureTokenRepository
from store.features import FeatureRepository
from store.labels import LabelRepository
from store.run_sets import RunSetRepository
from store.runs import RunRepository
from store.sampled_runs import PAGE_ACTIVATIONS

AIM_S = 1.0
N_LABELS = 100_000
N_CONTEXTS = 20
_BATCH_RUNS = 200
_WORDS = "birds boats names towns rivers numbers refusals quotes lists doubts".split()

Action = Callable[[], object]


def measure_features(
    work_dir: Path, n_activations: int, repeats: int
) -> tuple[tuple[Comparison, ...], dict[str, object]]:
    """Times of each part of the pages, and the bounds of what they read."""
    corpus = make_corpus()
    batch_runs = max(1, min(_BATCH_RUNS, n_activations // RUN_ACTIVATIONS))
    pool = list(corpus.iter_batches(2 * batch_runs * RUN_ACTIVATIONS, batch_runs))
    store = Store.open(work_dir / "features.duckdb")
    try:
        wanted = max(1, n_activations // RUN_ACTIVATIONS)
        n_runs = fill_runs(RunRepository(store), pool, 0, wanted)
        store.upkeep.wait()
        del pool
        gc.collect()
        labels_s = seconds(lambda: _label(store))
        pages = _Pages(store, corpus.features)
        comparisons = [
            _compare(title, action, repeats) for title, action in pages.actions().items()
        ]
        first_s = seconds(lambda: FeatureSearchRepository(store).search_features(SOURCE_ID))
    finally:
        store.close()
    n_stored = n_runs * RUN_ACTIVATIONS
    bounds = {
        "runs sampled for roles, text and co-activation, activations": PAGE_ACTIVATIONS,
        "runs read for a comparison, activations": PAGE_MAXIMA,
        "places looked at for contexts by filter": MAX_EXAMINED,
    }
    return tuple(comparisons), {
        "n_activations": n_stored,
        "bounds": bounds,
        "bounds_as_share_of_stored": {name: most / n_stored for name, most in bounds.items()},
        "labels_written_per_s": N_LABELS / labels_s,
        "first_search_of_a_process_ms": first_s * 1000,
    }


def _label(store: Store) -> None:
    labels = [
        NewLabel(
            feature,
            f"fires on {_WORDS[feature % 10]} after {_WORDS[feature // 10 % 10]} ({feature})",
            0.5 + feature % 500 / 1000,
        )
        for feature in range(N_LABELS)
    ]
    LabelRepository(store).insert_labels(SOURCE_ID, labels, "auto", "bench")


def _compare(title: str, action: Action, repeats: int) -> Comparison:
    action()
    samples = [seconds(action) for _ in range(repeats)]
    side = to_side("warm", samples, "s")
    return Comparison(title, (side,), None, "", f"at most {AIM_S:.0f} s", side.median <= AIM_S)


class _Pages:
    """What each page asks of the store."""

    def __init__(self, store: Store, features: dict[str, int]) -> None:
        self._kinds = features
        self._features, self._labels = FeatureRepository(store), LabelRepository(store)
        self._contexts, self._tokens = ContextRepository(store), FeatureTokenRepository(store)
        self._search, self._firing = FeatureSearchRepository(store), FiringRepository(store)
        self._runs, self._cohorts = RunSetRepository(store), CohortRepository(store)
        self._keys = self._runs.list_run_keys("", SOURCE_ID)
        lists = FeatureListRepository(store)
        made = lists.insert_list("bench", "bench")
        lists.add_features(made.list_id, SOURCE_ID, range(0, 10_000, 7), "bench")

    def actions(self) -> dict[str, Action]:
        """Each part of a page by name."""
        parts: dict[str, Action] = {}
        for kind, feature in self._kinds.items():
            parts[f"feature page, {kind}"] = lambda feature=feature: self._open(feature)  # type: ignore[misc]
        frequent = self._kinds["frequent"]
        return parts | {
            "contexts of generated tokens of some runs": lambda: self._filtered(frequent),
            "features that fire together with a frequent one": lambda: (
                self._firing.get_coactivations(SOURCE_ID, frequent)
            ),
            "search by words of labels": lambda: self._find("birds"),
            "search by filters": lambda: self._find("density<1% AND (max>5 OR list:bench) n>20"),
            "search by role": lambda: self._find("role:assistant NOT labelled:yes", "max"),
            "search by token": lambda: self._firing.search_by_text(SOURCE_ID, "w77"),
            "search by n-gram": lambda: self._firing.search_by_text(SOURCE_ID, "w77 w12"),
            "features of chosen tokens": lambda: self._firing.list_firing(
                self._keys[0], [3, 4, 5], "rarity"
            ),
            "compare: two cohorts by filter": self._compare_cohorts,
            "statistics of all features (map)": lambda: self._search.get_all_stats(SOURCE_ID),
        }

    def _open(self, feature: int) -> None:
        self._features.get_feature_stats(SOURCE_ID, feature)
        self._features.get_feature_histogram(SOURCE_ID, feature)
        self._features.list_top_contexts(SOURCE_ID, feature, N_CONTEXTS)
        self._features.list_contexts_by_quantile(SOURCE_ID, feature)
        self._tokens.get_token_counts(SOURCE_ID, feature)
        self._labels.list_history(SOURCE_ID, feature)

    def _filtered(self, feature: int) -> None:
        where = ContextFilter(generated_only=True, runs='prompt:"question 1" tools:no')
        self._contexts.list_filtered_contexts(SOURCE_ID, feature, where, N_CONTEXTS)
        self._contexts.list_filtered_bands(SOURCE_ID, feature, where)

    def _find(self, text: str, sort: str = "relevance") -> None:
        self._search.search_features(SOURCE_ID, text, sort=sort)  # type: ignore[arg-type]

    def _compare_cohorts(self) -> None:
        for where in ('prompt:"question 1"', 'NOT prompt:"question 1"'):
            keys = self._runs.list_run_keys(where, SOURCE_ID)
            self._cohorts.get_run_maxima(SOURCE_ID, keys, max_activations=PAGE_MAXIMA // 2)
