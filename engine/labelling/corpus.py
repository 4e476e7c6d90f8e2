"""Tokens of a sample of runs with what fires on them: what rules are found in and judged on.

Invariant: pure. Tokens that stand after equal text count once; whole prompts are either looked at
or held out, so that no held-out context has a twin among those that a rule was found in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Bools = npt.NDArray[np.bool_]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

N_BEFORE = 8
"""Tokens before a place that a rule may look at."""
NOTHING = -1
"""Stands for the text before the first token of a run."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Tokens that are looked at, and their activations.

    Attributes:
        vocabulary: texts of tokens. text_id: int32 [tokens], indices into it.
        before: int32 [tokens, N_BEFORE], text_ids of the tokens before, the last one first;
            NOTHING where there is none.
        flags: bool [tokens] by name, circumstances of a token, such as `in the answer`.
        is_held_out: [tokens], those that rules are judged on.
        fires: [tokens, d_sae] by column.
        run: int32 [tokens], number of its run; position: in that run.
    """

    vocabulary: tuple[str, ...]
    text_id: Int32s
    before: Int32s
    flags: Mapping[str, Bools]
    is_held_out: Bools
    fires: sparse.csc_array
    run: Int32s
    position: Int32s

    @property
    def n_tokens(self) -> int:
        """Tokens that are looked at."""
        return len(self.text_id)

    def places(self, feature: int) -> tuple[Int64s, npt.NDArray[np.float32]]:
        """Tokens on which a feature fires, rising, and how strongly."""
        begin, end = self.fires.indptr[feature], self.fires.indptr[feature + 1]
        rows = self.fires.indices[begin:end].astype(np.int64)
        return rows, self.fires.data[begin:end]


def make_corpus(
    vocabulary: tuple[str, ...],
    text_id: Int32s,
    run: Int32s,
    position: Int32s,
    fires: sparse.csr_array,
    flags: Mapping[str, Bools],
    prompt_of_run: Sequence[str],
    is_own: Bools | None = None,
) -> Corpus:
    """A corpus from all tokens of some runs.

    Args:
        vocabulary, text_id: as in Corpus.
        run, position: of each token, in the order of (run, position).
        fires: [tokens, d_sae].
        flags: circumstances by name.
        prompt_of_run: what was asked in each run: equal ones fall into the same half.
        is_own: tokens whose activations are in `fires`; None: all.
    """
    before = _before(text_id, run, position)
    kept = _first_of_equal(text_id, run)
    if is_own is not None:
        kept &= is_own
    halves = np.array([_is_held_out(prompt) for prompt in prompt_of_run], bool)
    rows = np.flatnonzero(kept)
    return Corpus(
        vocabulary=vocabulary,
        text_id=text_id[rows],
        before=before[rows],
        flags={name: flag[rows] for name, flag in flags.items()},
        is_held_out=halves[run[rows]],
        fires=sparse.csc_array(fires[rows]),
        run=run[rows],
        position=position[rows],
    )


def _before(text_id: Int32s, run: Int32s, position: Int32s) -> Int32s:
    out = np.full((len(text_id), N_BEFORE), NOTHING, np.int32)
    for shift in range(1, N_BEFORE + 1):
        is_same = np.zeros(len(text_id), bool)
        if len(text_id) > shift:
            is_same[shift:] = (run[shift:] == run[:-shift]) & (
                position[shift:] - position[:-shift] == shift
            )
        where = np.flatnonzero(is_same)
        out[where, shift - 1] = text_id[where - shift]
    return out


def _first_of_equal(text_id: Int32s, run: Int32s) -> Bools:
    """The first of all tokens with equal text before them and on them."""
    # a digest of the text up to each token: linear in the tokens, equal only by a chance of 2^-64
    seen: set[bytes] = set()
    kept = np.zeros(len(text_id), bool)
    digest = hashlib.blake2b(digest_size=8)
    for row, (number, text) in enumerate(zip(run.tolist(), text_id.tolist(), strict=True)):
        if row == 0 or number != run[row - 1]:
            digest = hashlib.blake2b(digest_size=8)
        digest.update(text.to_bytes(4, "little"))
        key = digest.digest()
        kept[row] = key not in seen
        seen.add(key)
    return kept


def _is_held_out(prompt: str) -> bool:
    return hashlib.sha256(prompt.encode("utf-8", "replace")).digest()[0] % 2 == 1
