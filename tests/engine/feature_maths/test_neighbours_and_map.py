"""Neighbours and the map of features, on SAE files in their published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.errors import UnsupportedError
from engine.feature_maths import mapped_tensors
from engine.feature_maths.feature_map import choose_features, lay_out, reduce_directions
from engine.feature_maths.mapped_tensors import MappedMatrix, find_tensors
from engine.feature_maths.neighbours import all_cosines, rank_neighbours

N_ROWS, N_COLUMNS = 61, 16


def _matrix(path: Path, tensor: torch.Tensor, is_transposed: bool = False) -> MappedMatrix:
    stored = tensor.T.contiguous() if is_transposed else tensor
    # a tensor before it, so that it does not begin where the data does
    save_file({"a": torch.zeros(3, dtype=torch.uint8), "w": stored}, path)
    return MappedMatrix(path, "w", find_tensors((path,))["w"][1], is_transposed)


def _decoder() -> torch.Tensor:
    return torch.randn(N_ROWS, N_COLUMNS, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_mapped_matrix_is_what_torch_reads(
    tmp_path: Path, dtype: torch.dtype, is_transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_tensors, "_BLOCK_ELEMENTS", 100)
    tensor = _decoder().to(dtype)
    matrix = _matrix(tmp_path / "f.safetensors", tensor, is_transposed)
    expected = tensor.float().numpy()
    assert np.concatenate([block for _, block in matrix.iter_blocks()]).tolist() == (
        expected.tolist()
    )
    assert [start for start, _ in matrix.iter_blocks()] == list(range(0, N_ROWS, 6))
    assert matrix.row(7).tolist() == expected[7].tolist()
    assert matrix.gather(np.array([3, 1])).tolist() == expected[[3, 1]].tolist()


def test_eight_bits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="F8_E4M3"):
        _matrix(tmp_path / "f.safetensors", _decoder().to(torch.float8_e4m3fn))


def test_neighbours_are_those_of_all_cosines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_tensors, "_BLOCK_ELEMENTS", 100)
    tensor = _decoder()
    tensor[9] = 0
    tensor[20] = -3 * tensor[4]
    matrix = _matrix(tmp_path / "f.safetensors", tensor)
    expected = torch.nn.functional.cosine_similarity(tensor[4][None], tensor).numpy()
    cosines = all_cosines(matrix, 4)
    assert cosines == pytest.approx(expected, abs=1e-6)
    nearest, opposite = rank_neighbours(cosines, 4, 5)
    order = [index for index in np.argsort(-expected).tolist() if index != 4]
    assert [item.feature for item in nearest] == order[:5]
    assert [item.feature for item in opposite] == order[::-1][:5]
    assert opposite[0].feature == 20
    assert opposite[0].cosine == pytest.approx(-1)
    # a feature without a direction has no neighbours
    assert rank_neighbours(all_cosines(matrix, 9), 9) == ((), ())


def test_the_map_is_the_same_each_time_and_keeps_families_together() -> None:
    generator = np.random.default_rng(0)
    families = np.repeat(generator.normal(size=(4, N_COLUMNS)), 15, axis=0)
    rows = (families + 0.05 * generator.normal(size=families.shape)).astype(np.float32)
    placed, method = lay_out(reduce_directions(rows))
    again, _ = lay_out(reduce_directions(rows.copy()))
    assert placed.tolist() == again.tolist()
    assert "t-SNE" in method
    distance = np.linalg.norm(placed[:, None] - placed[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) // 15 == np.arange(60) // 15).all()


@pytest.mark.parametrize("n_rows", [1, 2, 7, 9])
def test_few_features_have_a_map_too(n_rows: int) -> None:
    rows = np.random.default_rng(1).normal(size=(n_rows, N_COLUMNS)).astype(np.float32)
    placed, _ = lay_out(reduce_directions(rows))
    assert placed.shape == (n_rows, 2)
    assert np.isfinite(placed).all()


def test_of_too_many_features_the_most_active_are_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = _matrix(tmp_path / "f.safetensors", _decoder())
    n_active = np.zeros(N_ROWS, np.int64)
    n_active[[50, 3, 17, 8]] = [9, 9, 2, 5]
    assert choose_features(matrix, n_active).tolist() == list(range(N_ROWS))
    monkeypatch.setattr("engine.feature_maths.feature_map.MAX_ELEMENTS", 3 * N_COLUMNS)
    assert choose_features(matrix, n_active).tolist() == [3, 8, 50]
