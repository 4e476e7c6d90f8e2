"""Activations of a run as they are read back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from store.activations import ActivationRepository
from store.connection import Store
from store.errors import RunNotFoundError
from store.records import Activations
from store.runs import RunRepository
from tests.store.samples import D_SAE, SOURCE, make_run, make_tokens

N_TOKENS = 6
# (position, feature, value)
FIRED = ((0, 7, 2.0), (0, 9, 0.5), (2, 7, 3.5), (3, 9, 0.25), (4, 7, 3.5), (4, D_SAE - 1, 1e-30))


def _columns(rows: tuple[tuple[int, int, float], ...]) -> Activations:
    position, feature, value = zip(*rows, strict=True)
    return Activations(
        np.array(position, np.int32), np.array(feature, np.int32), np.array(value, np.float32)
    )


def _rows(activations: Activations) -> list[tuple[int, int, float]]:
    columns = (activations.position, activations.feature, activations.value)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def key(runs: RunRepository) -> str:
    """A stored run, written between two others of the same source."""
    tokens = make_tokens(N_TOKENS, per_token=3)
    for index in (1, 2, 3):
        fired = FIRED if index == 2 else ((1, 7, 9.0),)
        assert runs.insert_run(SOURCE, make_run(index, N_TOKENS), tokens, _columns(fired))
    return make_run(2).run_key


@pytest.fixture
def activations(store: Store) -> ActivationRepository:
    """What is tested."""
    return ActivationRepository(store)


def test_all_of_a_run_come_back_in_order_and_nothing_of_another(
    activations: ActivationRepository, key: str
) -> None:
    found = activations.get_run_activations(key)
    assert _rows(found) == _rows(_columns(FIRED))
    assert [column.dtype for column in (found.position, found.feature, found.value)] == [
        np.dtype(np.int32),
        np.dtype(np.int32),
        np.dtype(np.float32),
    ]


def test_float32_comes_back_bit_for_bit(
    runs: RunRepository, activations: ActivationRepository
) -> None:
    info = np.finfo(np.float32)
    random = np.random.default_rng(0).random(995, dtype=np.float32) + np.float32(1e-6)
    value = np.concatenate(
        [random, np.array([info.tiny, info.max, info.eps, 0.1, 1 / 3], np.float32)]
    )
    n_all = len(value)
    run = make_run(50, 1)
    [token] = make_tokens(1, per_token=0)
    fired = Activations(np.zeros(n_all, np.int32), np.arange(n_all, dtype=np.int32), value)
    assert runs.insert_run(SOURCE, run, (dataclasses.replace(token, n_active=n_all),), fired)
    found = activations.get_run_activations(run.run_key).value
    assert found.view(np.uint32).tolist() == value.view(np.uint32).tolist()


@pytest.mark.parametrize("absent", ["f" * 64, "", "'; drop table base.runs", "\ud800"])
def test_a_run_that_is_not_stored_is_an_error_not_an_empty_answer(
    activations: ActivationRepository, absent: str
) -> None:
    with pytest.raises(RunNotFoundError):
        activations.get_run_activations(absent)
