"""What a feature fires on, from what is stored: tokens, their sequences, circumstances.

Invariant: what is read is bounded by the numbers of places asked for, whatever is stored; numbers
come with their n, and those of a sample say so.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from engine.errors import EngineError
from engine.feature_files import FeatureFilesFinder
from engine.feature_maths.token_odds import (
    MetadataOdds,
    NgramOdds,
    TokenOdds,
    rank_ngrams,
    rank_tokens,
)
from engine.label_corpus import PAGE_ACTIVATIONS, read_corpus
from engine.labelling.circumstances import circumstance_odds
from engine.labelling.corpus import Corpus
from store.connection import Store
from store.feature_tokens import FeatureTokenRepository
from store.run_sets import RunSetRepository

_N_PLACES = 512
_N_HARD_TEXTS = 20
_BEFORE = 2
_KEPT_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class FiresOn:
    """What goes with a feature.

    Attributes:
        n_active: stored tokens on which it fires.
        n_places: of them those that tokens were counted on, where that is a sample.
        tokens, ngrams: the most specific first.
        circumstances: `value` is a phrase, such as `in the answer`; the strongest odds first, of a
            sample of runs with n_tokens_sampled tokens.
    """

    n_active: int
    n_places: int
    tokens: tuple[TokenOdds, ...]
    ngrams: tuple[NgramOdds, ...]
    circumstances: tuple[MetadataOdds, ...]
    n_tokens_sampled: int


class FiresOnReader:
    """Reads what features fire on; samples of the last few sources are kept."""

    def __init__(self, store: Store, files: FeatureFilesFinder) -> None:
        self._store = store
        self._files = files
        self._tokens = FeatureTokenRepository(store)
        self._run_sets = RunSetRepository(store)
        self._samples: OrderedDict[tuple[str, int], Corpus] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, source: str, feature: int) -> FiresOn:
        """What a feature fires on.

        Raises:
            StoreError: if nothing of the source is stored, or it has no such feature.
        """
        counts = self._tokens.get_token_counts(source, feature)
        # of a sample, the tokens that are compared with are as many as its share
        share = counts.n_places / max(counts.n_tokens_active, 1)
        n_all = np.maximum(np.round(counts.n_all * share).astype(np.int64), counts.n_active)
        rest = max(round(counts.n_tokens * share) - int(n_all.sum()), 0)
        tokens = rank_tokens(
            (*counts.text, ""), [*counts.n_active.tolist(), 0], [*n_all.tolist(), rest]
        )
        ngrams: tuple[NgramOdds, ...] = ()
        if counts.n_tokens_active:
            places = self._tokens.get_windows(source, feature, _N_PLACES, _BEFORE, 0)
            silent = self._tokens.get_silent_windows(
                source,
                feature,
                [item.text for item in tokens[:_N_HARD_TEXTS]],
                _N_PLACES,
                _BEFORE,
                0,
            )
            ngrams = rank_ngrams(places.texts, silent.texts)
        sample = self._sample(source)
        return FiresOn(
            n_active=counts.n_tokens_active,
            n_places=counts.n_places,
            tokens=tokens,
            ngrams=ngrams,
            circumstances=circumstance_odds(sample, feature),
            n_tokens_sampled=sample.n_tokens,
        )

    def _sample(self, source: str) -> Corpus:
        """Circumstances of a sample of runs, read again when runs came or went."""
        key = (source, self._run_sets.count_runs("", source))
        with self._lock:
            if key in self._samples:
                self._samples.move_to_end(key)
                return self._samples[key]
        try:
            toy_seed = self._files.find(source).toy_seed
        except EngineError:
            # the files are not needed here: only the words about people are left out
            toy_seed = None
        sample = read_corpus(self._store, source, toy_seed, PAGE_ACTIVATIONS)
        with self._lock:
            self._samples[key] = sample
            while len(self._samples) > _KEPT_SAMPLES:
                self._samples.popitem(last=False)
        return sample
