"""Searching features, and which ones fire where: against counting by hand in a planted store."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from store.connection import Store
from store.errors import InvalidSpecError, RunNotFoundError, SourceNotFoundError
from store.feature_firing import FiringMetric, FiringRepository
from store.feature_records import NewLabel
from store.feature_search import FeatureSearchRepository, FeatureSort
from store.features import FeatureRepository
from store.labels import LabelRepository
from store.records import TokenColumns
from store.removal import delete_runs
from store.runs import RunRepository
from tests.store.planted import (
    ANSWER,
    BORN,
    D_SAE,
    DENSE,
    FIRST,
    FOLLOWER,
    IN_ROME,
    N_PROMPT,
    N_RUNS,
    PAIR,
    PLANTED,
    SILENT,
    Planted,
    insert_planted,
    make_planted,
)
from tests.store.samples import make_run


@pytest.fixture(scope="module")
def planted() -> Planted:
    return make_planted()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("planted") / "store.duckdb")
    insert_planted(RunRepository(store), planted)
    labels = LabelRepository(store)
    labels.insert_label("planted", BORN, "where somebody was born", author="ada")
    labels.insert_label("planted", PAIR, "the sea, and who was born there", author="ada")
    labels.insert_labels(
        "planted",
        [NewLabel(DENSE, "newborn things", 0.9), NewLabel(SILENT, "never seen", 0.95)],
        "auto",
        "rules",
    )
    labels.insert_labels("planted", [NewLabel(ANSWER, "born to answer", 0.5)], "auto", "rules")
    yield store
    store.close()


def _counts(planted: Planted) -> Counter[int]:
    return Counter(feature for _, _, feature, _ in planted.own)


def _found(store: Store, text: str, show_all: bool = False) -> list[int]:
    search = FeatureSearchRepository(store)
    page = search.search_features("planted", text, limit=100, show_all=show_all)
    return [row.feature for row in page.rows]


def test_rows_have_the_statistics_and_histograms_of_everything_stored(
    filled: Store, planted: Planted
) -> None:
    page = FeatureSearchRepository(filled).search_features("planted", show_all=True, limit=100)
    features = FeatureRepository(filled)
    assert {row.feature for row in page.rows} == {*_counts(planted), SILENT}
    for row in page.rows:
        stats = features.get_feature_stats("planted", row.feature)
        assert (row.n_tokens_active, row.density) == (stats.n_tokens_active, stats.density)
        assert (row.max_value, row.mean_value) == (stats.max_value, stats.mean_value)
        assert row.label == stats.label
        assert row.histogram == features.get_feature_histogram("planted", row.feature)


def test_dense_features_and_those_of_first_tokens_are_left_out_and_counted(
    filled: Store, planted: Planted
) -> None:
    search = FeatureSearchRepository(filled)
    page = search.search_features("planted", limit=100)
    dense = [f for f, n in _counts(planted).items() if n > 0.1 * len(planted.own_places())]
    assert DENSE in dense
    assert page.n_dense == len(dense)
    assert page.n_first == 1
    assert page.n_found == len(_counts(planted)) + 1 - len(dense) - 1
    assert page.n_sampled == len(planted.own_places())
    shown = {row.feature for row in page.rows}
    assert len(shown) == page.n_found
    assert not shown & {FIRST, *dense}
    everything = search.search_features("planted", limit=100, show_all=True)
    assert (everything.n_found, everything.n_dense, everything.n_first) == (
        len(_counts(planted)) + 1,
        0,
        0,
    )


def test_words_find_labels_and_rank_whole_words_of_the_current_one_first(filled: Store) -> None:
    # "born" is a word of BORN's and PAIR's labels, a part of DENSE's, and in ANSWER's hidden one
    ranked = _found(filled, "born", show_all=True)
    assert set(ranked[:2]) == {BORN, PAIR}
    assert ranked[2:] == [DENSE, ANSWER]
    assert _found(filled, '"born there"', show_all=True) == [PAIR]
    assert _found(filled, "born sea", show_all=True) == [PAIR]
    assert _found(filled, "BORN NOT sea") == [BORN, ANSWER]
    assert _found(filled, "born_") == []
    assert _found(filled, "b%n") == []


def test_filters_mean_what_they_say(filled: Store, planted: Planted) -> None:
    counts = _counts(planted)
    n_tokens = len(planted.own_places())

    def found(text: str) -> set[int]:
        return set(_found(filled, text, show_all=True))

    assert found("labelled:yes") == {BORN, PAIR, DENSE, SILENT}
    assert found("origin:auto") == {DENSE, SILENT}
    assert found("score>=0.92") == {SILENT}
    assert found("NOT score>=0.92") == {*counts} - {SILENT}
    assert found("n>=100") == {f for f, n in counts.items() if n >= 100}
    assert found("density<5%") == {f for f, n in counts.items() if n < 0.05 * n_tokens} | {SILENT}
    assert found("feature:2..4") == {BORN, IN_ROME, PAIR}
    assert found("feature:2 OR feature=4") == {BORN, PAIR}
    maxima = {f: max(row[3] for row in planted.own if row[2] == f) for f in counts}
    assert found("max>4") == {f for f, value in maxima.items() if value > 4}
    in_answers = Counter(row[2] for row in planted.own if row[1] >= N_PROMPT)
    assert found("generated>60%") == {f for f in counts if in_answers[f] > 0.6 * counts[f]}
    of_role = {
        f for f in counts if 2 * in_answers[f] > counts[f]
    }  # first tokens are told apart, and are none of FIRST's role
    assert found("role:assistant") == of_role
    assert ANSWER in of_role


def test_an_outcome_finds_what_fires_in_runs_that_were_judged_so(
    filled: Store, planted: Planted
) -> None:
    with filled.write() as cursor:
        cursor.execute(
            "INSERT INTO base.outcomes (run_no, outcome, method, judge, created_by, created_at)"
            " SELECT run_no, 'Odd', 'world', 'w', 'ada', now()::TIMESTAMP FROM base.runs"
            " WHERE run_key IN (SELECT unnest(?::VARCHAR[]))",
            [[planted.run_key(3), planted.run_key(38)]],
        )
    wanted = {row[2] for row in planted.own if row[0] in (3, 38)}
    assert set(_found(filled, "outcome:odd", show_all=True)) == wanted
    assert _found(filled, "outcome:none", show_all=True) == []


@pytest.mark.parametrize(
    ("sort", "column"),
    [("density", "density"), ("max", "max_value"), ("mean", "mean_value"), ("feature", "feature")],
)
def test_results_come_in_the_order_that_is_asked_for_and_in_pages(
    filled: Store, sort: FeatureSort, column: str
) -> None:
    search = FeatureSearchRepository(filled)
    down = search.search_features("planted", "n>0", sort=sort, limit=100)
    values = [getattr(row, column) for row in down.rows]
    assert values == sorted(values, reverse=True)
    up = search.search_features(
        "planted",
        "n>0",
        sort=sort,
        descending=False,
        limit=100,
    )
    assert [getattr(row, column) for row in up.rows] == sorted(values)
    pages = [
        search.search_features("planted", "n>0", sort=sort, limit=4, offset=at)
        for at in range(0, 40, 4)
    ]
    assert [row for page in pages for row in page.rows] == list(down.rows)
    assert {page.n_found for page in pages} == {down.n_found}
    with pytest.raises(InvalidSpecError, match="no order"):
        search.search_features("planted", sort="colour")  # type: ignore[arg-type]


def test_columns_of_statistics_are_those_of_the_rows(filled: Store, planted: Planted) -> None:
    search = FeatureSearchRepository(filled)
    stats = search.get_all_stats("planted")
    counts = _counts(planted)
    assert stats.feature.tolist() == sorted(counts)
    assert stats.n_tokens_active.tolist() == [counts[f] for f in sorted(counts)]
    assert stats.n_tokens == len(planted.own_places())
    assert stats.feature[stats.is_first].tolist() == [FIRST]
    some = search.get_many_stats("planted", [BORN, SILENT, DENSE, BORN])
    assert some.feature.tolist() == [DENSE, BORN]
    assert len(search.get_many_stats("planted", [])) == 0
    with pytest.raises(InvalidSpecError):
        search.get_many_stats("planted", [D_SAE])


def test_a_word_finds_the_feature_that_fires_on_it_first(filled: Store, planted: Planted) -> None:
    firing = FiringRepository(filled)
    found = firing.search_by_text("planted", " Born")
    places = [
        (run, position)
        for run, position in planted.own_places()
        if planted.texts[run][position] == " born"
    ]
    assert found.n_occurrences == found.n_sampled == len(places)
    best = found.rows[0]
    on = {(row[0], row[1]): row[3] for row in planted.own if row[2] == BORN}
    assert best.row.feature == BORN
    assert best.n_on == len(on)
    assert best.share_of_text == pytest.approx(len(on) / len(places))
    assert best.share_of_feature == pytest.approx(1.0)
    assert best.mean_value == pytest.approx(np.mean(list(on.values())))
    n_rest = len(planted.own_places()) - len(places)
    expected = math.log((len(on) + 0.5) / 0.5) - math.log((len(places) + 0.5) / (n_rest + 0.5))
    assert best.log_odds == pytest.approx(expected)
    assert found.n_dense > 0
    assert DENSE not in {row.row.feature for row in found.rows}


def test_several_words_find_the_feature_of_the_last_one_after_the_others(
    filled: Store, planted: Planted
) -> None:
    firing = FiringRepository(filled)
    found = firing.search_by_text("planted", "in Rome")
    places = [
        (run, at)
        for run, at in planted.own_places()
        if at and planted.texts[run][at - 1 : at + 1] == (" in", " Rome")
    ]
    assert found.n_occurrences == found.n_sampled == len(places)
    assert found.rows[0].row.feature == IN_ROME
    on = [row for row in planted.own if row[2] == IN_ROME]
    assert found.rows[0].n_on == len(on)
    alone = {row.row.feature: row for row in firing.search_by_text("planted", "Rome").rows}
    assert alone[IN_ROME].share_of_text < found.rows[0].share_of_text
    nothing = firing.search_by_text("planted", "Rome in Rome in the bird who was not")
    assert (nothing.rows, nothing.n_occurrences) == ((), 0)
    for text in ("", "  ", "x" * 500, "\ud800"):
        with pytest.raises(InvalidSpecError):
            firing.search_by_text("planted", text)


def test_features_of_chosen_tokens_are_ranked_by_each_metric(
    filled: Store, planted: Planted
) -> None:
    firing, features = FiringRepository(filled), FeatureRepository(filled)
    # its first 20 tokens are those of another run
    index, positions = N_RUNS - 1, [0, 3, 5, 25, 41]
    rows = [row for row in planted.of_run(index) if row[1] in positions]
    best: dict[int, tuple[float, int]] = {}
    for _, position, feature, value in rows:
        best[feature] = max(best.get(feature, (0.0, 0)), (value, position))
    assert FIRST in best
    metrics: tuple[FiringMetric, ...] = ("value", "relative", "rarity")
    for metric in metrics:
        found = firing.list_firing(
            planted.run_key(index),
            positions,
            metric,
            show_all=True,
        )
        assert {row.row.feature for row in found.rows} == set(best)
        for row in found.rows:
            stats = features.get_feature_stats("planted", row.row.feature)
            assert (row.value, row.position) == pytest.approx(best[row.row.feature])
            assert row.relative == pytest.approx(row.value / stats.max_value)
            assert row.rarity == pytest.approx(-row.value * math.log(stats.density))
        ranked = [getattr(row, metric) for row in found.rows]
        assert ranked == sorted(ranked, reverse=True)
    fewer = firing.list_firing(planted.run_key(index), positions)
    assert fewer.n_found == len(best) - fewer.n_dense - fewer.n_first
    assert fewer.n_first == 1
    assert FIRST not in {row.row.feature for row in fewer.rows}
    with pytest.raises(RunNotFoundError):
        firing.list_firing("nowhere")
    with pytest.raises(InvalidSpecError, match="metric"):
        firing.list_firing(planted.run_key(0), metric="size")  # type: ignore[arg-type]


def test_features_that_fire_together_are_told_with_what_chance_would_give(
    filled: Store, planted: Planted
) -> None:
    found = FiringRepository(filled).get_coactivations("planted", PAIR, min_together=1)
    places = {
        feature: {(row[0], row[1]) for row in planted.own if row[2] == feature}
        for feature in range(D_SAE)
    }
    n_tokens = len(planted.own_places())
    assert found.n_places == found.n_tokens_active == len(places[PAIR])
    assert found.feature[0] == FOLLOWER
    together = {f: len(at & places[PAIR]) for f, at in places.items() if f != PAIR}
    assert dict(zip(found.feature.tolist(), found.n_together.tolist(), strict=True)) == {
        f: n for f, n in together.items() if n
    }
    for place, feature in enumerate(found.feature.tolist()):
        a = np.zeros(n_tokens, bool)
        order = {token: number for number, token in enumerate(planted.own_places())}
        b = a.copy()
        a[[order[token] for token in places[PAIR]]] = True
        b[[order[token] for token in places[feature]]] = True
        assert found.phi[place] == pytest.approx(np.corrcoef(a, b)[0, 1])
        assert found.jaccard[place] == pytest.approx((a & b).sum() / (a | b).sum())
        expected = math.log((a & b).mean() / (a.mean() * b.mean()))
        assert found.pmi[place] == pytest.approx(expected)
    silent = FiringRepository(filled).get_coactivations("planted", SILENT)
    assert (len(silent), silent.n_places) == (0, 0)


def test_what_was_read_of_a_source_is_read_anew_when_its_runs_change(
    store: Store, runs: RunRepository, planted: Planted
) -> None:
    search, firing = FeatureSearchRepository(store), FiringRepository(store)
    with pytest.raises(SourceNotFoundError):
        search.search_features("planted")
    runs.insert_runs(PLANTED, planted.runs[:5])
    first = search.search_features("planted", show_all=True)
    n_born = firing.search_by_text("planted", "born").n_occurrences
    runs.insert_runs(PLANTED, planted.runs[5:10])
    assert search.search_features("planted", show_all=True).n_sampled == 2 * first.n_sampled
    assert firing.search_by_text("planted", "born").n_occurrences > n_born
    # another run takes the number of the one that was the last
    delete_runs(store, [planted.run_key(9)])
    last = planted.runs[9]
    assert isinstance(last.tokens, TokenColumns)
    words = replace(last.tokens, text=[f" new{n}" for n in range(len(last.tokens))])
    words = replace(words, token_id=np.arange(100, 100 + len(words), dtype=np.int32))
    other = replace(last, run=replace(last.run, run_key=make_run(500).run_key), tokens=words)
    runs.insert_runs(PLANTED, [other])
    assert firing.search_by_text("planted", "NEW7").n_occurrences == 1
