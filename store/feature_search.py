"""Searching features: by words of their labels and by conditions on their statistics.

Invariant: what a search leaves out by itself (features that fire on very many tokens, or almost
only on the first one of a run) is counted in its answer. Nothing is read that grows with the number
of activations: statistics are kept, roles and outcomes are told from samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import duckdb
import numpy as np
import pyarrow as pa

from store.connection import Store
from store.errors import FeatureListNotFoundError, InvalidSpecError
from store.feature_profiles import ProfileCache
from store.feature_records import FeaturePage
from store.feature_table import (
    ROW_COLUMNS,
    TABLE,
    StatsColumns,
    read_stats,
    registered,
    table_values,
    to_rows,
)
from store.filter_sql import Parameter, to_sql
from store.filters import FilterTree, parse_filter
from store.sampled_runs import PAGE_ACTIVATIONS, SourceSize, read_sample, sample_runs
from store.sources import StoredSource, check_feature, get_source

FeatureSort = Literal["relevance", "density", "max", "mean", "n", "score", "feature"]
SORTS: tuple[str, ...] = get_args(FeatureSort)

_SORT_COLUMNS = {
    "density": "density",
    "max": "max_value",
    "mean": "mean_value",
    "n": "n_tokens_active",
    "score": "label_score",
    "feature": "feature",
}
_PAGE = """
    {table}, found AS MATERIALIZED (
        SELECT f.*, {relevance} AS relevance FROM f WHERE {condition}
    ), page AS (
        SELECT * FROM found WHERE $show_all OR NOT (is_dense OR is_first)
        ORDER BY {order} LIMIT $most OFFSET $skipped
    )
    SELECT {columns}, n_all, n_dense, n_first_only FROM (
        SELECT count(*) AS n_all, count(*) FILTER (is_dense) AS n_dense,
               count(*) FILTER (is_first AND NOT is_dense) AS n_first_only
        FROM found
    ) LEFT JOIN page ON true ORDER BY {order}
"""
_N_COUNTS = 3
_RELEVANCE = (
    "(contains(f.words, {v})::INTEGER + 2 * contains(lower(coalesce(f.label, '')), {v})::INTEGER"
    " + 4 * contains(' ' || regexp_replace(lower(coalesce(f.label, '')), '[^\\w]+', ' ', 'g')"
    " || ' ', ' ' || {v} || ' ')::INTEGER)"
)
_JUDGED = """
    SELECT DISTINCT run_no FROM base.outcomes JOIN base.runs USING (run_no)
    WHERE source_no = ? AND lower(outcome) = lower(?) ORDER BY run_no
"""


class FeatureSearchRepository:
    """Searches over the features of one store; every method may be called from any thread.

    Every method raises SourceNotFoundError if nothing of the source is stored.
    """

    def __init__(self, store: Store, profiles: ProfileCache | None = None) -> None:
        self._store = store
        self._profiles = profiles or ProfileCache()

    def search_features(
        self,
        source: str,
        text: str = "",
        sort: FeatureSort = "relevance",
        descending: bool = True,
        limit: int = 25,
        offset: int = 0,
        show_all: bool = False,
    ) -> FeaturePage:
        """Features that pass a filter.

        Args:
            source: id or name.
            text: a filter of features; words without a field are looked for in their labels.
            sort: relevance is how well the words fit: first whole words of the current label, then
                parts of it, then other labels; without words, by tokens.
            show_all: also those that fire on very many tokens, or almost only on first ones.

        Raises:
            InvalidSpecError: if the filter or the order cannot be read.
            FeatureListNotFoundError: if it names a list that is not there.
        """
        tree = parse_filter(text, "features")
        if sort not in SORTS:
            raise InvalidSpecError(
                "sort", f"Features have no order {sort[:40]!r}.", f"Use one of {', '.join(SORTS)}."
            )
        condition = to_sql(tree)
        relevance, words = _relevance(tree)
        column = _SORT_COLUMNS.get(sort)
        order = f"{column} {'DESC' if descending else 'ASC'} NULLS LAST, feature"
        if column is None:
            order = "relevance DESC, label_score DESC NULLS LAST, n_tokens_active DESC, feature"
        sql = _PAGE.format(
            table=TABLE,
            relevance=relevance,
            condition=condition.sql,
            order=order,
            columns=ROW_COLUMNS,
        )
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            _check_lists(cursor, tree)
            profiles = self._profiles.get_profiles(cursor, found)
            fired_in = _fired_in(cursor, found, profiles.size, tree)
            values: dict[str, Parameter] = {
                **table_values(found, profiles),
                **condition.values,
                **words,
                "show_all": show_all,
                "most": max(limit, 0),
                "skipped": max(offset, 0),
            }
            with registered(cursor, profile=profiles.table, fired_in=fired_in):
                rows = cursor.execute(sql, values).fetchall()
            n_all, n_dense, n_first = rows[0][-_N_COUNTS:]
            shown = [row[:-_N_COUNTS] for row in rows if row[0] is not None]
            page = to_rows(cursor, found, shown)
        if show_all:
            n_dense = n_first = 0
        return FeaturePage(page, n_all - n_dense - n_first, n_dense, n_first, profiles.n_tokens)

    def get_many_stats(self, source: str, features: Sequence[int]) -> StatsColumns:
        """Statistics of those of the features that ever fired.

        Raises:
            InvalidSpecError: if the source has no such feature.
        """
        wanted = np.array(features, np.int64)
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            for feature in (wanted.min(), wanted.max()) if len(wanted) else ():
                check_feature(found, int(feature))
            profiles = self._profiles.get_profiles(cursor, found)
            return read_stats(cursor, found, profiles, wanted)

    def get_all_stats(self, source: str) -> StatsColumns:
        """Statistics of all features that ever fired."""
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            return read_stats(cursor, found, self._profiles.get_profiles(cursor, found))


def _relevance(tree: FilterTree) -> tuple[str, dict[str, Parameter]]:
    """How well the words that a filter looks for fit, as SQL, and its parameters."""
    terms = [term for term in tree.terms("text", "label") if isinstance(term.value, str)]
    values: dict[str, Parameter] = {
        f"word_{index}": str(term.value).lower() for index, term in enumerate(terms)
    }
    parts = [_RELEVANCE.format(v=f"${name}") for name in values]
    return " + ".join(parts) or "0", values


def _check_lists(cursor: duckdb.DuckDBPyConnection, tree: FilterTree) -> None:
    for term in tree.terms("list"):
        found = cursor.execute(
            "SELECT count(*) FROM base.feature_lists WHERE list_id = $1 OR lower(name) = lower($1)",
            [term.value],
        ).fetchall()
        if not found[0][0]:
            raise FeatureListNotFoundError(str(term.value))


def _fired_in(
    cursor: duckdb.DuckDBPyConnection, source: StoredSource, size: SourceSize, tree: FilterTree
) -> pa.Table:
    """Which features fire in runs with the outcomes that a filter names: of a sample of them."""
    outcomes = sorted({str(term.value).lower() for term in tree.terms("outcome")})
    tables = [pa.table({"outcome": pa.array([], pa.string()), "feature": pa.array([], pa.int32())})]
    for outcome in outcomes:
        judged = cursor.sql(_JUDGED, params=[source.source_no, outcome]).to_arrow_table()
        most = PAGE_ACTIVATIONS // len(outcomes)
        sample = sample_runs(cursor, source, size, most, among=judged)
        feature = np.unique(read_sample(cursor, sample).feature).astype(np.int32)
        name = pa.array([outcome] * len(feature), pa.string())
        tables.append(pa.table({"outcome": name, "feature": feature}))
    return pa.concat_tables(tables)
