"""In which circumstances a feature fires: in answers, with tools, when asked about somebody.

Invariant: pure; counts are of the corpus, and come with the odds.
"""

from __future__ import annotations

import numpy as np

from engine.feature_maths.token_odds import MetadataOdds, metadata_odds
from engine.labelling.corpus import Corpus

FIELD = "circumstance"
_FEWEST_ACTIVE = 5


def circumstance_odds(corpus: Corpus, feature: int) -> tuple[MetadataOdds, ...]:
    """Odds of firing in each circumstance, the strongest first; none under five tokens."""
    rows, _ = corpus.places(feature)
    if len(rows) < _FEWEST_ACTIVE:
        return ()
    found = [
        metadata_odds(
            FIELD,
            name,
            int(np.count_nonzero(flag[rows])),
            int(np.count_nonzero(flag)),
            len(rows),
            corpus.n_tokens,
        )
        for name, flag in corpus.flags.items()
    ]
    return tuple(sorted(found, key=lambda item: (-item.low, item.value)))
