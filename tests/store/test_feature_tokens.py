"""Tokens around the places of a feature, samples of a source, and contexts by filter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.sparse import csr_array

from store.connection import Store
from store.errors import InvalidSpecError, SourceNotFoundError
from store.feature_contexts import ContextRepository
from store.feature_records import ContextFilter
from store.feature_tokens import FeatureTokenRepository
from store.features import FeatureRepository
from store.runs import RunRepository
from store.source_samples import SourceSample, SourceSampleRepository
from tests.store.planted import (
    ANSWER,
    BORN,
    D_SAE,
    DENSE,
    FIRST,
    N_PROMPT,
    N_RUNS,
    N_TOKENS,
    SILENT,
    Planted,
    Row,
    insert_planted,
    make_planted,
)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return make_planted()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Iterator[Store]:
    store = Store.open(tmp_path_factory.mktemp("planted") / "store.duckdb")
    insert_planted(RunRepository(store), planted)
    with store.write() as cursor:
        cursor.execute(
            "INSERT INTO base.outcomes (run_no, outcome, method, judge, created_by, created_at)"
            " SELECT run_no, 'ODD', 'world', 'w', 'ada', created_at FROM base.runs"
            " WHERE run_key < ?",
            [planted.run_key(7)],
        )
    yield store
    store.close()


def _around(planted: Planted, run: int, position: int, before: int, after: int) -> tuple[str, ...]:
    texts = planted.texts[run]
    return tuple(
        texts[place] if 0 <= place < N_TOKENS else ""
        for place in range(position - before, position + after + 1)
    )


@pytest.mark.parametrize("around", [(8, 4), (0, 0), (60, 60)])
@pytest.mark.parametrize("feature", [FIRST, BORN, DENSE])
def test_windows_are_the_tokens_around_each_place(
    filled: Store, planted: Planted, feature: int, around: tuple[int, int]
) -> None:
    tokens = FeatureTokenRepository(filled)
    before, after = around
    found = tokens.get_windows("planted", feature, 10_000, before, after)
    rows = {(row[0], row[1]): row[3] for row in planted.own if row[2] == feature}
    assert len(found) == found.n_total == len(rows)
    for key, position, value, texts in zip(
        found.run_keys, found.position.tolist(), found.value.tolist(), found.texts, strict=True
    ):
        run = planted.index(key)
        assert rows[run, position] == pytest.approx(value)
        assert texts == _around(planted, run, position, before, after)
    top = tokens.get_windows("planted", feature, 5, band="top")
    assert top.value.tolist() == pytest.approx(sorted(rows.values(), reverse=True)[:5])
    few = tokens.get_windows("planted", feature, 7)
    assert few.texts == tokens.get_windows("planted", feature, 7).texts
    assert len(few) == 7
    assert few.texts != tokens.get_windows("planted", feature, 7, seed=1).texts


def test_silent_windows_are_of_the_texts_and_nowhere_the_feature_fires(
    filled: Store, planted: Planted
) -> None:
    tokens = FeatureTokenRepository(filled)
    found = tokens.get_silent_windows("planted", DENSE, [" born", " sea"], 10_000)
    firing = {(row[0], row[1]) for row in planted.own if row[2] == DENSE}
    wanted = {
        place
        for place in planted.own_places()
        if planted.texts[place[0]][place[1]] in (" born", " sea") and place not in firing
    }
    places = zip(map(planted.index, found.run_keys), found.position.tolist(), strict=True)
    assert set(places) == wanted
    assert {window[found.before] for window in found.texts} == {" born", " sea"}
    assert not found.value.any()
    assert len(tokens.get_silent_windows("planted", DENSE, [" born"], 5)) == 5
    assert len(tokens.get_silent_windows("planted", DENSE, ["born", "nowhere"])) == 0
    assert len(tokens.get_silent_windows("planted", BORN, [" born"], 10_000)) < 20


def test_token_counts_are_those_of_reading_through(filled: Store, planted: Planted) -> None:
    tokens = FeatureTokenRepository(filled)
    found = tokens.get_token_counts("planted", DENSE)
    values: dict[str, list[float]] = {}
    for run, position, feature, value in planted.own:
        if feature == DENSE:
            values.setdefault(planted.texts[run][position], []).append(value)
    everywhere = Counter(planted.texts[run][position] for run, position in planted.own_places())
    assert set(found.text) == set(values)
    for index, text in enumerate(found.text):
        assert found.n_active[index] == len(values[text])
        assert found.n_all[index] == everywhere[text]
        assert found.mean_value[index] == pytest.approx(np.mean(values[text]))
    assert found.n_active.tolist() == sorted(found.n_active.tolist(), reverse=True)
    assert found.n_tokens == len(planted.own_places())
    assert found.n_places == found.n_tokens_active == sum(map(len, values.values()))
    silent = tokens.get_token_counts("planted", SILENT)
    assert (silent.text, silent.n_places) == ((), 0)
    with pytest.raises(InvalidSpecError):
        tokens.get_token_counts("planted", D_SAE)
    with pytest.raises(SourceNotFoundError):
        tokens.get_windows("nowhere", 1)


def _check_sample(sample: SourceSample, planted: Planted) -> None:
    matrix = csr_array((sample.value, sample.feature, sample.starts)).toarray()
    assert len(sample.run) == len(sample.run_keys) * N_TOKENS
    for number, key in enumerate(sample.run_keys):
        index = planted.index(key)
        item = planted.runs[index]
        inside = sample.run == number
        assert sample.position[inside].tolist() == list(range(N_TOKENS))
        texts = tuple(sample.vocabulary[text] for text in sample.text_id[inside].tolist())
        assert texts == planted.texts[index]
        assert sample.prompts[number] == item.run.prompt
        assert sample.tools[number] == item.run.tools
        own = {(row[1], row[2]): row[3] for row in planted.own if row[0] == index}
        rows, columns = np.nonzero(matrix[inside])
        values = matrix[inside][rows, columns].tolist()
        fired = dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), values, strict=True))
        assert fired == pytest.approx(own)
        n_shared = item.shared.n_tokens if item.shared else 0
        assert sample.is_own[inside].tolist() == [at >= n_shared for at in range(N_TOKENS)]
    assert sample.is_generated.tolist() == (sample.position >= N_PROMPT).tolist()
    assert sample.is_special.tolist() == (sample.position == 0).tolist()
    assert {sample.roles[at] for at in np.flatnonzero(sample.is_generated)} == {"assistant"}
    assert sample.n_tokens_total == len(planted.own_places())


def test_a_sample_is_whole_runs_with_all_that_they_left(filled: Store, planted: Planted) -> None:
    samples = SourceSampleRepository(filled)
    everything = samples.get_sample("planted")
    assert everything.is_complete
    assert len(everything.run_keys) == N_RUNS
    _check_sample(everything, planted)
    some = samples.get_sample("planted", max_activations=1_000)
    assert not some.is_complete
    assert 1 < len(some.run_keys) < 10
    assert len(some.value) <= 1_100
    _check_sample(some, planted)
    assert samples.get_sample("planted", 1_000).run_keys == some.run_keys
    assert samples.get_sample("planted", 1_000, seed=5).run_keys != some.run_keys
    assert len(samples.get_sample("planted", 1).run_keys) == 1
    chosen = samples.get_sample("planted", where="tools:yes outcome:odd")
    assert chosen.is_complete
    assert sorted(map(planted.index, chosen.run_keys)) == [1, 3, 5]
    none = samples.get_sample("planted", where="by:nobody")
    assert (len(none.run_keys), len(none.value), len(none.starts)) == (0, 0, 1)


Passes = Callable[[Row], bool]
FILTERS: list[tuple[ContextFilter, Passes]] = [
    (ContextFilter(), lambda row: True),
    (ContextFilter(generated_only=True), lambda row: row[1] >= N_PROMPT),
    (ContextFilter(role="user"), lambda row: row[1] < N_PROMPT),
    (ContextFilter(generated_only=True, role="user"), lambda row: False),
    (ContextFilter(outcome="odd"), lambda row: row[0] < 7),
    (ContextFilter(runs="tools:yes"), lambda row: row[0] % 2 == 1),
    (
        ContextFilter(role="assistant", outcome="Odd", runs="NOT tools:yes"),
        lambda row: row[1] >= N_PROMPT and row[0] < 7 and row[0] % 2 == 0,
    ),
    (ContextFilter(runs='sql:"SELECT run_key FROM runs LIMIT 0"'), lambda row: False),
]


@pytest.mark.parametrize(("where", "passes"), FILTERS)
@pytest.mark.parametrize("feature", [FIRST, DENSE, ANSWER, SILENT])
def test_contexts_by_filter_are_the_strongest_places_that_pass(
    filled: Store, planted: Planted, feature: int, where: ContextFilter, passes: Passes
) -> None:
    contexts = ContextRepository(filled)
    rows = [row for row in planted.own if row[2] == feature and passes(row)]
    best: dict[int, float] = {}
    for row in rows:
        best[row[0]] = max(best.get(row[0], 0.0), row[3])
    found = contexts.list_filtered_contexts("planted", feature, where, limit=6)
    assert found.is_complete
    assert found.n_passed == len(rows)
    assert found.n_examined >= found.n_passed
    values = [context.value for context in found.contexts]
    assert values == pytest.approx(sorted(best.values(), reverse=True)[:6])
    for context in found.contexts:
        run = planted.index(context.run_key)
        assert (run, context.position, feature) in {row[:3] for row in rows}
        assert context.text == planted.texts[run][context.position]
    bands = contexts.list_filtered_bands("planted", feature, where, n_bands=3, per_band=2)
    assert sum(band.n_tokens_active for band in bands.bands) == len(rows)
    assert len(bands.bands) == min(3, len(rows))
    for band in bands.bands:
        inside = [row for row in rows if band.low <= np.float32(row[3]) <= band.high]
        assert len(inside) == band.n_tokens_active
        assert abs(len(inside) - len(rows) / 3) <= 1
        assert 0 < len(band.contexts) <= 2
        assert all(band.low <= context.value <= band.high for context in band.contexts)


def test_contexts_without_a_filter_are_those_of_the_feature(filled: Store) -> None:
    plain = FeatureRepository(filled).list_top_contexts("planted", DENSE, 10)
    assert (
        ContextRepository(filled)
        .list_filtered_contexts("planted", DENSE, ContextFilter(), 10)
        .contexts
        == plain
    )


def test_what_is_looked_at_for_contexts_is_bounded_and_told(
    filled: Store, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.feature_contexts.MAX_EXAMINED", 50)
    contexts = ContextRepository(filled)
    found = contexts.list_filtered_contexts("planted", DENSE, ContextFilter(role="user"), 5)
    assert (found.n_examined, found.is_complete) == (50, False)
    strongest = sorted((row for row in planted.own if row[2] == DENSE), key=lambda row: -row[3])
    assert found.n_passed == sum(row[1] < N_PROMPT for row in strongest[:50])
    assert found.contexts[0].value == pytest.approx(
        max(row[3] for row in strongest if row[1] < N_PROMPT)
    )
    with pytest.raises(InvalidSpecError, match="role"):
        contexts.list_filtered_contexts("planted", DENSE, ContextFilter(role="oracle"))
    with pytest.raises(InvalidSpecError, match="no field"):
        contexts.list_filtered_bands("planted", DENSE, ContextFilter(runs="colour:red"))
    with pytest.raises(InvalidSpecError, match="no feature"):
        contexts.list_filtered_contexts("planted", D_SAE, ContextFilter())
