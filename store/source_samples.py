"""A sample of a source's runs whole: every token with its text and what fires on it, as columns.

Invariant: the sample is bounded by its activations, the same at each call as long as the runs are,
and says whether it is all there is. It is for work on all features at once; a page about one
feature reads less (feature_tokens.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.codes import to_values
from store.connection import Store
from store.ordering import stable_order
from store.records import BoolColumn, FloatColumn, IntColumn
from store.run_sets import prepare_run_filter, select_run_nos
from store.sampled_runs import PAGE_ACTIVATIONS, RunSample, get_size, read_sample, sample_runs
from store.sources import StoredSource, get_source

_TOKENS = """
    SELECT run_no, position, text, role, is_generated, is_special
    FROM base.tokens WHERE run_no IN $run_nos
"""
_RUNS = "SELECT run_key, prompt, tools FROM base.runs WHERE run_no IN $run_nos ORDER BY run_no"


@dataclass(frozen=True, slots=True)
class SourceSample:
    """Runs of one source with all that they left.

    Attributes:
        run_keys, prompts, tools: of each run.
        run: int32 [tokens], index into run_keys; rows are in the order of (run, position).
        text_id: int32 [tokens], index into vocabulary. roles: of each token.
        is_own: [tokens], whether the activations of the token are this run's: those of a beginning
            that it shares are another run's, and the token has none here.
        starts: int64 [tokens + 1]; feature and value of token i are [starts[i]:starts[i + 1]],
            features rising: a matrix in rows of tokens, d_sae wide.
        n_tokens_total: tokens of the source whose activations are stored.
        is_complete: whether these are all runs that were to be chosen from.
    """

    source_id: str
    d_sae: int
    run_keys: tuple[str, ...]
    prompts: tuple[str, ...]
    tools: BoolColumn
    run: IntColumn
    position: IntColumn
    text_id: IntColumn
    vocabulary: tuple[str, ...]
    roles: tuple[str, ...]
    is_generated: BoolColumn
    is_special: BoolColumn
    is_own: BoolColumn
    starts: npt.NDArray[np.int64]
    feature: IntColumn
    value: FloatColumn
    n_tokens_total: int
    is_complete: bool


class SourceSampleRepository:
    """Samples of the sources of one store; every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get_sample(
        self,
        source: str,
        max_activations: int = PAGE_ACTIVATIONS,
        seed: int = 0,
        where: str = "",
    ) -> SourceSample:
        """Runs from all over what is stored of a source.

        Args:
            source: id or name.
            max_activations: most that are read, or one run; 60 bytes each while they are.
            seed: another one gives other runs.
            where: a filter of the runs to choose from.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
            InvalidSpecError: if the filter cannot be read.
        """
        ready = prepare_run_filter(self._store, where)
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            size = get_size(cursor, found)
            among = select_run_nos(cursor, ready, found.source_no) if where.strip() else None
            sample = sample_runs(cursor, found, size, max_activations, seed, among)
            return _read(cursor, found, sample, size.n_tokens)


def _read(
    cursor: duckdb.DuckDBPyConnection, source: StoredSource, sample: RunSample, n_total: int
) -> SourceSample:
    values = {"run_nos": sample.numbers}
    runs = cursor.execute(_RUNS, values).fetchall()
    tokens: pa.Table = cursor.sql(_TOKENS, params=values).to_arrow_table()
    index = sample.to_index(
        tokens.column("run_no").to_numpy(), tokens.column("position").to_numpy()
    )
    order = np.argsort(index, kind="stable")
    n_tokens = len(index)
    texts = tokens.column("text").combine_chunks().dictionary_encode()
    roles = tokens.column("role").take(pa.array(order)).to_pylist()
    rows = read_sample(cursor, sample)
    by_token = stable_order(rows.token, n_tokens)
    counts = np.bincount(rows.token, minlength=n_tokens)
    return SourceSample(
        source_id=source.source_id,
        d_sae=source.d_sae,
        run_keys=tuple(row[0] for row in runs),
        prompts=tuple(row[1] for row in runs),
        tools=np.array([row[2] for row in runs], np.bool_),
        run=np.repeat(np.arange(len(runs), dtype=np.int32), sample.n_tokens),
        position=tokens.column("position").to_numpy()[order],
        text_id=texts.indices.to_numpy()[order].astype(np.int32),
        vocabulary=tuple(texts.dictionary.to_pylist()),
        roles=tuple(roles),
        is_generated=tokens.column("is_generated").to_numpy()[order],
        is_special=tokens.column("is_special").to_numpy()[order],
        is_own=sample.is_own(),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        feature=rows.feature[by_token],
        value=to_values(rows.code[by_token], source.code_shift),
        n_tokens_total=n_total,
        is_complete=sample.is_complete,
    )
