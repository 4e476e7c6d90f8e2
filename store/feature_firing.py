"""Which features fire where: on a text, on chosen tokens of a run, and together with another one.

Invariant: shares are those of a sample of runs that is named with them; how often a feature fires
at all is that of everything stored. What is left out (features of very many tokens, or of first
tokens alone) is counted in the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.beginnings import read_activations
from store.codes import to_values
from store.connection import Store
from store.errors import InvalidSpecError, RunNotFoundError
from store.feature_profiles import ProfileCache, Profiles
from store.feature_records import FiringFeature, FiringFeatures, TokenFiring, TokenFirings
from store.feature_table import StatsColumns, read_rows, read_stats
from store.posting_tables import POSTINGS
from store.rows import PASSAGE_TOKENS
from store.sampled_runs import PAGE_ACTIVATIONS, RunSample, read_sample, sample_runs
from store.sources import StoredSource, check_feature, get_source
from store.specs import is_storable
from store.text_places import TokenTexts

FiringMetric = Literal["value", "relative", "rarity"]
METRICS: tuple[str, ...] = get_args(FiringMetric)
MIN_ON = 3
"""Places on which a feature must fire to be called one of a text."""

_CONFIDENCE = 1.96
_MANY_TOKENS = 2**16
"""Tokens of a feature from which its runs are not looked up: it fires in most of them."""
_RUNS_OF = f"""
    SELECT DISTINCT p.run_no FROM {POSTINGS} AS a
    JOIN base.passages AS p ON p.passage_no = a.token_no // $passage_tokens
    WHERE a.slot = $slot ORDER BY p.run_no
"""
_RUN = "SELECT run_no, source_id FROM base.runs JOIN base.sources USING (source_no) WHERE run_key=?"

DoubleColumn = npt.NDArray[np.float64]
CountColumn = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Coactivations:
    """Features that fire on tokens of another one, ordered by phi; columns of one length.

    Attributes:
        n_together: places of the sample on which both fire. share: of the sample's places.
        density: share of all tokens on which it fires.
        pmi: natural logarithm of share over density: how many times more often than by chance.
        phi: correlation of firing, -1 to 1, from share, density and the counts of both.
        jaccard: tokens of both over tokens of either, 0 to 1; an estimate likewise.
        n_places: sampled places of the feature itself, of the n_tokens_active on which it fires.
    """

    feature: npt.NDArray[np.int32]
    n_together: CountColumn
    share: DoubleColumn
    density: DoubleColumn
    pmi: DoubleColumn
    phi: DoubleColumn
    jaccard: DoubleColumn
    n_places: int
    n_tokens_active: int

    def __len__(self) -> int:
        return len(self.feature)


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of each feature on how many of some tokens it fires, and the sum of its values there."""

    feature: npt.NDArray[np.int32]
    n_on: CountColumn
    total: DoubleColumn


class FiringRepository:
    """Where features of one store fire; every method may be called from any thread."""

    def __init__(self, store: Store, profiles: ProfileCache | None = None) -> None:
        self._store = store
        self._profiles = profiles or ProfileCache()
        self._texts = TokenTexts()

    def search_by_text(
        self, source: str, text: str, limit: int = 25, show_all: bool = False
    ) -> TokenFirings:
        """Features that fire on a token, or on the last one of several that follow each other.

        The most specific come first: by the lower bound of the log-odds of the text among the
        tokens of the feature. Case, and white space around the text, do not matter.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
            InvalidSpecError: if the text is blank, or too long.
        """
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            places = self._texts.find_text(cursor, found, text)
            profiles = self._profiles.get_profiles(cursor, found)
            sample = _sample_of(cursor, found, profiles, np.unique(places.run_no))
            wanted = np.zeros(int(sample.offsets[-1]), np.bool_)
            inside = np.isin(places.run_no, sample.run_no)
            wanted[sample.to_index(places.run_no[inside], places.position[inside])] = True
            n_sampled = int(wanted.sum())
            counts = _count_on(cursor, found, sample, wanted)
            kept = counts.n_on >= min(MIN_ON, max(n_sampled, 1))
            counts = _Counts(counts.feature[kept], counts.n_on[kept], counts.total[kept])
            stats = read_stats(cursor, found, profiles, counts.feature)
            shown, n_dense, n_first = _shown(stats, show_all)
            share = counts.n_on / max(n_sampled, 1)
            of_feature, log_odds, error = _specificity(
                counts.n_on, share * places.n_occurrences, stats, places.n_occurrences
            )
            bound = np.where(shown, log_odds - _CONFIDENCE * error, -np.inf)
            best = np.lexsort((counts.feature, -bound))[: min(max(limit, 0), int(shown.sum()))]
            rows = read_rows(cursor, found, stats, best.tolist())
        firings = tuple(
            TokenFiring(
                row=row,
                n_on=int(counts.n_on[index]),
                share_of_text=float(share[index]),
                share_of_feature=float(of_feature[index]),
                log_odds=float(log_odds[index]),
                z=float(log_odds[index] / error[index]),
                mean_value=float(counts.total[index] / counts.n_on[index]),
            )
            for row, index in zip(rows, best.tolist(), strict=True)
        )
        return TokenFirings(firings, places.n_occurrences, n_sampled, n_dense, n_first)

    def list_firing(
        self,
        run_key: str,
        positions: Sequence[int] | None = None,
        metric: FiringMetric = "value",
        limit: int = 25,
        show_all: bool = False,
    ) -> FiringFeatures:
        """Features that fire on tokens of a run, each at its strongest.

        Args:
            run_key: of a stored run.
            positions: of the tokens; None for all of the run.
            metric: value; relative, to the feature's largest stored value; or rarity, the value
                times the surprise of the feature firing at all.

        Raises:
            RunNotFoundError: if the run is not stored.
            InvalidSpecError: if there is no such metric.
        """
        if metric not in METRICS:
            raise InvalidSpecError(
                "metric",
                f"There is no metric {metric[:40]!r}.",
                f"Use one of {', '.join(METRICS)}.",
            )
        with self._store.read() as cursor:
            rows = cursor.execute(_RUN, [run_key]).fetchall() if is_storable(run_key) else []
            if not rows:
                raise RunNotFoundError(run_key)
            [(run_no, source_id)] = rows
            found = get_source(cursor, source_id)
            table = read_activations(cursor, run_no)
            position, feature, code = (column.to_numpy() for column in table.columns)
            if positions is not None:
                inside = np.isin(position, np.array(positions, np.int64))
                position, feature, code = position[inside], feature[inside], code[inside]
            order = np.lexsort((position, -code.astype(np.int64), feature))
            first = order[np.flatnonzero(np.diff(feature[order], prepend=-1))]
            position, feature = position[first], feature[first]
            value = to_values(code[first], found.code_shift).astype(np.float64)
            profiles = self._profiles.get_profiles(cursor, found)
            stats = read_stats(cursor, found, profiles, feature)
            shown, n_dense, n_first = _shown(stats, show_all)
            metrics = {
                "value": value,
                "relative": value / stats.max_value,
                "rarity": value * -np.log(np.minimum(stats.density, 1.0)),
            }
            ranked = np.where(shown, metrics[metric], -np.inf)
            n_found = int(shown.sum())
            best = np.lexsort((feature, -ranked))[: min(max(limit, 0), n_found)]
            records = read_rows(cursor, found, stats, best.tolist())
        return FiringFeatures(
            tuple(
                FiringFeature(
                    row=row,
                    position=int(position[index]),
                    value=float(value[index]),
                    relative=float(metrics["relative"][index]),
                    rarity=float(metrics["rarity"][index]),
                )
                for row, index in zip(records, best.tolist(), strict=True)
            ),
            n_found,
            n_dense,
            n_first,
        )

    def get_coactivations(self, source: str, feature: int, min_together: int = 5) -> Coactivations:
        """Features that fire on the tokens of this one, more often than by chance first.

        Args:
            source: id or name.
            min_together: sampled places on which both must fire.

        Raises:
            SourceNotFoundError: if nothing of the source is stored.
            InvalidSpecError: if the source has no such feature.
        """
        with self._store.read() as cursor:
            found = get_source(cursor, source)
            check_feature(found, feature)
            profiles = self._profiles.get_profiles(cursor, found)
            own = read_stats(cursor, found, profiles, np.array([feature]))
            n_active = int(own.n_tokens_active[0]) if len(own) else 0
            runs = None if n_active > _MANY_TOKENS else _runs_of(cursor, found, feature)
            sample = _sample_of(cursor, found, profiles, runs)
            rows = read_sample(cursor, sample)
            wanted = np.zeros(int(sample.offsets[-1]), np.bool_)
            wanted[rows.token[rows.feature == feature]] = True
            n_places = int(wanted.sum())
            together = np.bincount(rows.feature[wanted[rows.token]], minlength=found.d_sae)
            together[feature] = 0
            others = np.flatnonzero(together >= max(min_together, 1)).astype(np.int32)
            stats = read_stats(cursor, found, profiles, others)
        return _correlate(stats, together[others], n_places, n_active)


def _correlate(
    stats: StatsColumns, together: CountColumn, n_places: int, n_active: int
) -> Coactivations:
    """Measures of association from the sampled share and the counts of all that is stored."""
    share = together / max(n_places, 1)
    n_other, n_tokens = stats.n_tokens_active.astype(np.float64), max(stats.n_tokens, 1)
    n_both = np.minimum(share * n_active, np.minimum(n_other, n_active))
    spread = np.sqrt(
        n_active
        * np.maximum(n_tokens - n_active, 0.5)
        * n_other
        * np.maximum(n_tokens - n_other, 0.5)
    )
    phi = np.clip((n_both * n_tokens - n_other * n_active) / np.maximum(spread, 1e-9), -1, 1)
    order = np.lexsort((stats.feature, -phi))
    return Coactivations(
        feature=stats.feature[order],
        n_together=together[order],
        share=share[order],
        density=stats.density[order],
        pmi=np.log(share[order] / stats.density[order]),
        phi=phi[order],
        jaccard=(n_both / (n_other + n_active - n_both))[order],
        n_places=n_places,
        n_tokens_active=n_active,
    )


def _specificity(
    n_on: CountColumn, n_both: DoubleColumn, stats: StatsColumns, n_occurrences: int
) -> tuple[DoubleColumn, DoubleColumn, DoubleColumn]:
    """Share of the feature's tokens that are the text; log-odds of that, and their error.

    Args:
        n_on: sampled tokens of both. n_both: the same of everything stored, estimated.
    """
    both = np.minimum(n_both, stats.n_tokens_active)
    alone = stats.n_tokens_active - both
    rest = max(stats.n_tokens - n_occurrences, 0)
    log_odds = np.log((both + 0.5) / (alone + 0.5)) - np.log((n_occurrences + 0.5) / (rest + 0.5))
    error = np.sqrt(
        1 / (n_on + 0.5) + 1 / (alone + 0.5) + 1 / (n_occurrences + 0.5) + 1 / (rest + 0.5)
    )
    return both / stats.n_tokens_active, log_odds, error


def _shown(stats: StatsColumns, show_all: bool) -> tuple[npt.NDArray[np.bool_], int, int]:
    """Which features are not left out, and how many are: dense ones, those of first tokens."""
    if show_all:
        return np.ones(len(stats), np.bool_), 0, 0
    n_first = int((stats.is_first & ~stats.is_dense).sum())
    return ~(stats.is_dense | stats.is_first), int(stats.is_dense.sum()), n_first


def _count_on(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    sample: RunSample,
    wanted: npt.NDArray[np.bool_],
) -> _Counts:
    """The features that fire on the wanted tokens of a sample."""
    rows = read_sample(cursor, sample)
    inside = wanted[rows.token]
    feature = rows.feature[inside]
    value = to_values(rows.code[inside], source.code_shift)
    n_on = np.bincount(feature, minlength=source.d_sae)
    total = np.bincount(feature, weights=value.astype(np.float64), minlength=source.d_sae)
    present = np.flatnonzero(n_on)
    sums: DoubleColumn = total[present].astype(np.float64)
    return _Counts(present.astype(np.int32), n_on[present], sums)


def _runs_of(
    cursor: duckdb.DuckDBPyConnection, source: StoredSource, feature: int
) -> npt.NDArray[np.int32]:
    """The numbers of the runs in which a feature fires on a token of their own."""
    values = {"slot": source.first_slot + feature, "passage_tokens": PASSAGE_TOKENS}
    run_no: npt.NDArray[np.int32] = (
        cursor.sql(_RUNS_OF, params=values).to_arrow_table().column(0).to_numpy()
    )
    return run_no


def _sample_of(
    cursor: duckdb.DuckDBPyConnection,
    source: StoredSource,
    profiles: Profiles,
    run_no: npt.NDArray[np.int32] | None,
) -> RunSample:
    among = None if run_no is None else pa.table({"run_no": run_no})
    return sample_runs(cursor, source, profiles.size, PAGE_ACTIVATIONS, among=among)
