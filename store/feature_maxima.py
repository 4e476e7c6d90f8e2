"""The largest stored activation of a feature, as the unsteered model gave it.

Invariant: what steering has driven a feature to is never taken for what the feature reaches.
"""

from __future__ import annotations

import numpy as np

from store.codes import to_values
from store.connection import Store
from store.errors import InvalidSpecError, SourceNotFoundError
from store.posting_tables import POSTINGS
from store.rows import PASSAGE_TOKENS
from store.sources import get_source

_FROM_TALLIES = "SELECT max(max_value) FROM base.tallies WHERE slot = ?"
_IS_STEERED = """
    SELECT count(*) > 0 FROM base.runs WHERE source_no = ? AND steering::VARCHAR <> '[]'
"""
_FROM_POSTINGS = f"""
    SELECT max(p.code) FROM {POSTINGS} AS p
    JOIN base.passages AS g ON g.passage_no = p.token_no // ?
    JOIN base.runs AS r ON r.run_no = g.run_no
    WHERE p.slot = ? AND r.steering::VARCHAR = '[]'
"""


def find_unsteered_max(store: Store, source_id: str, feature: int) -> float | None:
    """The feature's largest activation over the stored unsteered runs; None if it never fired.

    Args:
        store: that has the runs.
        source_id: id of the source.
        feature: index from 0.

    Raises:
        StoreError: if the store cannot be read.
    """
    with store.read() as cursor:
        try:
            source = get_source(cursor, source_id)
        except SourceNotFoundError:
            return None
        if not 0 <= feature < source.d_sae:
            raise InvalidSpecError("feature", f"The source has no feature {feature}.")
        slot = source.first_slot + feature
        [(is_steered,)] = cursor.execute(_IS_STEERED, [source.source_no]).fetchall()
        if not is_steered:
            [(value,)] = cursor.execute(_FROM_TALLIES, [slot]).fetchall()
            return None if value is None else float(value)
        [(code,)] = cursor.execute(_FROM_POSTINGS, [PASSAGE_TOKENS, slot]).fetchall()
    if code is None:
        return None
    return float(to_values(np.array([code], np.uint32), source.code_shift)[0])
