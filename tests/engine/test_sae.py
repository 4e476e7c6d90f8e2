"""SAEs: every supported config encodes and decodes as sae_lens does; the rest is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import engine.sae
from engine.errors import SourceMismatchError, UnsupportedError, WeightsMissingError
from engine.sae import Sae, decode, encode, encode_dense
from engine.sae_config import SaeConfig, read_sae_config
from engine.sae_loading import load_sae
from tests.engine.checkpoints import D_MODEL, D_SAE, save_sae

CASES: list[tuple[str, dict[str, Any]]] = [
    ("standard", {}),
    ("topk", {}),
    ("jumprelu", {}),
    ("standard", {"apply_b_dec_to_input": False}),
    ("topk", {"rescale_acts_by_decoder_norm": True}),
    ("standard", {"normalize_activations": "layer_norm"}),
    ("jumprelu", {"normalize_activations": "constant_norm_rescale"}),
]


def _load(folder: Path) -> Sae:
    return load_sae(folder, read_sae_config(folder), torch.float32, torch.device("cpu"))


def _residual(n_rows: int = 50) -> torch.Tensor:
    return torch.randn(n_rows, D_MODEL, generator=torch.Generator().manual_seed(1)) * 2


@pytest.mark.parametrize(("architecture", "changes"), CASES)
def test_encode_and_decode_equal_sae_lens(
    tmp_path: Path, architecture: str, changes: dict[str, Any]
) -> None:
    from sae_lens import SAE

    save_sae(tmp_path, architecture, **changes)
    ours, theirs, residual = _load(tmp_path), SAE.load_from_disk(tmp_path), _residual()
    with torch.inference_mode():
        expected = theirs.encode(residual)
        expected_out = theirs.decode(expected)
        got = encode_dense(ours, residual)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decode(ours, got, residual), expected_out, atol=1e-4, rtol=1e-4)


def test_the_sparse_code_holds_exactly_the_activations_above_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_sae(tmp_path)
    sae, residual = _load(tmp_path), _residual()
    monkeypatch.setattr(engine.sae, "DENSE_BUDGET", 7 * D_SAE)
    code = encode(sae, residual)
    dense = torch.zeros(code.n_rows, D_SAE)
    dense[code.row, code.feature] = code.value
    torch.testing.assert_close(dense, encode_dense(sae, residual), atol=1e-5, rtol=1e-5)
    assert (code.value > 0).all()
    order = code.row * D_SAE + code.feature
    assert (order[1:] > order[:-1]).all()


def test_encoding_never_holds_more_than_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_sae(tmp_path)
    sae = _load(tmp_path)
    seen: list[int] = []

    def spy(sae: Sae, residual: torch.Tensor) -> torch.Tensor:
        seen.append(residual.shape[0])
        return encode_dense(sae, residual)

    monkeypatch.setattr(engine.sae, "encode_dense", spy)
    monkeypatch.setattr(engine.sae, "DENSE_BUDGET", 16 * D_SAE)
    encode(sae, _residual(50))
    assert seen == [16, 16, 16, 2]


def test_nothing_to_encode_gives_an_empty_code(tmp_path: Path) -> None:
    save_sae(tmp_path)
    code = encode(_load(tmp_path), _residual(0))
    assert (code.n_rows, len(code.value)) == (0, 0)


def _read(folder: Path, config: dict[str, object]) -> SaeConfig:
    save_sae(folder)
    (folder / "cfg.json").write_text(json.dumps(config))
    return read_sae_config(folder)


def test_a_config_from_before_version_6_is_read(tmp_path: Path) -> None:
    config = _read(
        tmp_path,
        {
            "d_in": D_MODEL,
            "d_sae": D_SAE,
            "hook_point": "blocks.2.hook_resid_pre",
            "activation_fn_str": "topk",
            "activation_fn_kwargs": {"k": 4},
        },
    )
    assert (config.architecture, config.k) == ("topk", 4)
    assert config.hook_name == "blocks.2.hook_resid_pre"
    assert config.apply_b_dec_to_input


GOOD: dict[str, object] = {
    "architecture": "standard",
    "d_in": D_MODEL,
    "d_sae": D_SAE,
    "hook_name": "blocks.0.hook_resid_post",
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architecture": "transcoder"}, "transcoder"),
        ({"architecture": "topk"}, r"do not say how many \(k\)"),
        ({"architecture": "topk", "k": 97}, "more than its 96"),
        ({"architecture": "topk", "k": 0}, "k = 0"),
        ({"normalize_activations": "expected_average_only_in"}, "scaling factor"),
        ({"reshape_activations": "hook_z"}, "hook_z"),
        ({"finetuning_scaling_factor": True}, "finetuning"),
        ({"d_in": "32"}, "d_in"),
        ({"d_sae": 0}, "d_sae"),
        ({"hook_name": None}, "which layer"),
        ({"activation_fn": "tanh-relu"}, "tanh-relu"),
    ],
)
def test_a_config_that_leaves_open_how_to_encode_is_refused(
    tmp_path: Path, change: dict[str, object], says: str
) -> None:
    _read(tmp_path, GOOD)
    with pytest.raises(UnsupportedError, match=says):
        _read(tmp_path, {**GOOD, **change})


def test_a_folder_without_an_sae_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"cfg\.json"):
        read_sae_config(tmp_path)
    (tmp_path / "cfg.json").write_text(json.dumps(GOOD))
    with pytest.raises(WeightsMissingError, match="sae_weights"):
        read_sae_config(tmp_path)


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    save_sae(tmp_path)
    (tmp_path / "cfg.json").write_text("{")
    with pytest.raises(UnsupportedError, match="JSON"):
        read_sae_config(tmp_path)


def test_broken_weights_are_refused(tmp_path: Path) -> None:
    save_sae(tmp_path)
    weights = tmp_path / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsMissingError, match="incomplete"):
        _load(tmp_path)


def test_weights_of_another_shape_than_the_config_are_refused(tmp_path: Path) -> None:
    save_sae(tmp_path)
    content = json.loads((tmp_path / "cfg.json").read_text())
    content["d_sae"] = 50
    (tmp_path / "cfg.json").write_text(json.dumps(content))
    with pytest.raises(SourceMismatchError, match="W_enc"):
        _load(tmp_path)
