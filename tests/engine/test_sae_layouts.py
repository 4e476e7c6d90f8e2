"""Layouts of SAEs: all published ones compute the same; what they leave open is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.definitions import SaeOverrides
from engine.errors import EngineError, SourceMismatchError, UnsupportedError, WeightsMissingError
from engine.sae import Sae, decode, encode, encode_dense
from engine.sae_config import SaeConfig, read_sae_config
from engine.sae_layouts import sae_weight_bytes
from engine.sae_loading import load_sae
from tests.engine.checkpoints import D_MODEL, D_SAE
from tests.engine.checkpoints_saes import (
    BARE_CONFIG,
    HOOK_FOLDER,
    SAELENS_CONFIG,
    linear_names,
    random_weights,
    write_sae,
)

RELU = SaeOverrides(activation="relu")
HOOK = SaeOverrides(hook_name=HOOK_FOLDER)
RELU_AT_HOOK = SaeOverrides(hook_name=HOOK_FOLDER, activation="relu")
TOPK_AT_HOOK = SaeOverrides(hook_name=HOOK_FOLDER, activation="topk", k=5)


def _residual(n_rows: int = 40) -> torch.Tensor:
    return torch.randn(n_rows, D_MODEL, generator=torch.Generator().manual_seed(3)) * 2


def _load(folder: Path, overrides: SaeOverrides = SaeOverrides()) -> Sae:
    config = read_sae_config(folder, overrides)
    return load_sae(folder, config, torch.float32, torch.device("cpu"))


def _saelens(folder: Path) -> tuple[Path, SaeOverrides]:
    config = {**SAELENS_CONFIG, "architecture": "standard"}
    return write_sae(folder / HOOK_FOLDER, random_weights(), config), SaeOverrides()


def _config_json(folder: Path) -> tuple[Path, SaeOverrides]:
    config = {**SAELENS_CONFIG, "architecture": "standard"}
    return write_sae(
        folder / HOOK_FOLDER, random_weights(), config, config_file="config.json"
    ), SaeOverrides()


def _bare_config(folder: Path) -> tuple[Path, SaeOverrides]:
    return write_sae(folder / HOOK_FOLDER, random_weights(), BARE_CONFIG), RELU


def _two_linear_layers(folder: Path) -> tuple[Path, SaeOverrides]:
    weights = linear_names(random_weights())
    written = write_sae(folder, weights, BARE_CONFIG, "config.json", "model.safetensors")
    return written, SaeOverrides(HOOK_FOLDER, "relu", apply_b_dec_to_input=True)


LAYOUTS: list[Callable[[Path], tuple[Path, SaeOverrides]]] = [
    _saelens,
    _config_json,
    _bare_config,
    _two_linear_layers,
]


@pytest.mark.parametrize("write", LAYOUTS)
def test_every_layout_is_the_same_sae(
    tmp_path: Path, write: Callable[[Path], tuple[Path, SaeOverrides]]
) -> None:
    folder, overrides = write(tmp_path)
    sae, residual, weights = _load(folder, overrides), _residual(), random_weights()
    expected = ((residual - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]).relu()
    got = encode_dense(sae, residual)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        decode(sae, got, residual),
        expected @ weights["W_dec"] + weights["b_dec"],
        atol=1e-4,
        rtol=1e-4,
    )
    assert (sae.config.d_in, sae.config.d_sae) == (D_MODEL, D_SAE)
    assert sae.config.hook_name == HOOK_FOLDER


@pytest.mark.parametrize("write", LAYOUTS)
def test_no_layout_holds_a_second_copy_of_its_weights(
    tmp_path: Path, write: Callable[[Path], tuple[Path, SaeOverrides]]
) -> None:
    folder, overrides = write(tmp_path)
    sae = _load(folder, overrides)
    assert sae.W_dec is not None
    for tensor in (sae.W_enc, sae.W_dec):
        assert tensor.untyped_storage().nbytes() <= 4 * D_MODEL * D_SAE


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated"])
def test_every_architecture_equals_sae_lens(tmp_path: Path, architecture: str) -> None:
    from sae_lens import SAE

    config = {**SAELENS_CONFIG, "architecture": architecture}
    if architecture == "topk":
        config["k"] = 5
    write_sae(tmp_path, random_weights(architecture), config)
    theirs, ours, residual = SAE.load_from_disk(tmp_path), _load(tmp_path), _residual()
    with torch.inference_mode():
        expected = theirs.encode(residual)
        reconstructed = theirs.decode(expected)
    code = encode(ours, residual)
    dense = torch.zeros(code.n_rows, D_SAE)
    dense[code.row, code.feature] = code.value
    torch.testing.assert_close(dense, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decode(ours, dense, residual), reconstructed, atol=1e-4, rtol=1e-4)
    assert (code.value > 0).all()
    place = code.row * D_SAE + code.feature
    assert (place[1:] > place[:-1]).all()


def test_linear_layers_are_applied_to_the_residual_as_it_is(tmp_path: Path) -> None:
    weights = random_weights()
    write_sae(tmp_path, linear_names(weights), BARE_CONFIG, "config.json", "model.safetensors")
    expected = torch.nn.functional.linear(_residual(), weights["W_enc"].T, weights["b_enc"]).relu()
    got = encode_dense(_load(tmp_path, RELU_AT_HOOK), _residual())
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_a_bias_before_the_encoder_is_taken_off_and_put_back(tmp_path: Path) -> None:
    weights = random_weights()
    named = linear_names(weights)
    named["pre_bias"] = named.pop("decoder.bias")
    write_sae(tmp_path, named, BARE_CONFIG, "config.json", "model.safetensors")
    sae, residual = _load(tmp_path, RELU_AT_HOOK), _residual()
    expected = ((residual - weights["b_dec"]) @ weights["W_enc"] + weights["b_enc"]).relu()
    got = encode_dense(sae, residual)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        decode(sae, got, residual), got @ weights["W_dec"] + weights["b_dec"]
    )


def test_an_encoder_alone_encodes_and_says_that_it_cannot_decode(tmp_path: Path) -> None:
    named = linear_names(random_weights())
    encoder = {name: tensor for name, tensor in named.items() if name.startswith("encoder")}
    write_sae(tmp_path, encoder, BARE_CONFIG, "config.json", "model.safetensors")
    sae = _load(tmp_path, RELU_AT_HOOK)
    got = encode_dense(sae, _residual())
    assert (got > 0).any()
    with pytest.raises(UnsupportedError, match="without its decoder"):
        decode(sae, got, _residual())


def test_matrices_of_linear_layers_may_lie_either_way(tmp_path: Path) -> None:
    named = linear_names(random_weights())
    turned = {name: t.T.contiguous() if t.ndim == 2 else t for name, t in named.items()}
    one = write_sae(tmp_path / "1", named, BARE_CONFIG, "config.json", "model.safetensors")
    other = write_sae(tmp_path / "2", turned, BARE_CONFIG, "config.json", "model.safetensors")
    torch.testing.assert_close(
        encode_dense(_load(one, RELU_AT_HOOK), _residual()),
        encode_dense(_load(other, RELU_AT_HOOK), _residual()),
        atol=1e-5,
        rtol=1e-5,
    )


def test_widths_that_the_config_leaves_out_are_those_of_the_weights(tmp_path: Path) -> None:
    write_sae(tmp_path, linear_names(random_weights()), {}, "config.json", "model.safetensors")
    config = read_sae_config(tmp_path, TOPK_AT_HOOK)
    assert (config.d_in, config.d_sae, config.architecture) == (D_MODEL, D_SAE, "topk")


def test_an_override_of_topk_keeps_the_k_strongest(tmp_path: Path) -> None:
    write_sae(tmp_path, random_weights(), BARE_CONFIG)
    code = encode(_load(tmp_path, TOPK_AT_HOOK), _residual())
    assert int(torch.bincount(code.row).max()) == 5


@pytest.mark.parametrize(
    ("config", "weights", "architecture"),
    [
        ({**BARE_CONFIG, "k": 7}, "standard", "topk"),
        ({**BARE_CONFIG, "activation": "ReLU"}, "standard", "standard"),
        (BARE_CONFIG, "jumprelu", "jumprelu"),
        (BARE_CONFIG, "gated", "gated"),
        ({**BARE_CONFIG, "activation_fn_str": "relu"}, "standard", "standard"),
        ({**BARE_CONFIG, "hook_point": HOOK_FOLDER}, "standard", "standard"),
    ],
)
def test_what_config_and_tensors_prove_needs_no_setting(
    tmp_path: Path, config: dict[str, Any], weights: str, architecture: str
) -> None:
    write_sae(tmp_path / HOOK_FOLDER, random_weights(weights), config)
    assert read_sae_config(tmp_path / HOOK_FOLDER).architecture == architecture


@pytest.mark.parametrize(
    ("config", "folder", "hook_name"),
    [
        ({"hook_name": "blocks.2.hook_resid_pre"}, HOOK_FOLDER, "blocks.2.hook_resid_pre"),
        ({"metadata": {"hook_name": "model.layers.2"}}, "sae", "model.layers.2"),
        ({}, "blocks.30.hook_resid_post", "blocks.30.hook_resid_post"),
        ({"layer": 30}, "sae", "blocks.30.hook_resid_post"),
        ({"hook_layer": 4}, "sae", "blocks.4.hook_resid_post"),
    ],
)
def test_the_hook_point_is_named_by_config_folder_or_layer(
    tmp_path: Path, config: dict[str, Any], folder: str, hook_name: str
) -> None:
    write_sae(tmp_path / folder, random_weights(), {**BARE_CONFIG, **config})
    assert read_sae_config(tmp_path / folder, RELU).hook_name == hook_name


def _says(tmp_path: Path, overrides: SaeOverrides, **config: object) -> EngineError:
    write_sae(tmp_path, random_weights(), {**BARE_CONFIG, **config})
    with pytest.raises(EngineError) as caught:
        read_sae_config(tmp_path, overrides)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("overrides", "config", "setting"),
    [
        (HOOK, {}, "SAE_ACTIVATION"),
        (RELU, {}, "SAE_HOOK_NAME"),
        (SaeOverrides(HOOK_FOLDER, "topk"), {}, "SAE_K"),
        (SaeOverrides(HOOK_FOLDER, "topk", 1000), {}, "SAE_K"),
        (RELU_AT_HOOK, {"k": 3}, "SAE_ACTIVATION"),
        (TOPK_AT_HOOK, {"k": 3}, "SAE_K"),
        (RELU_AT_HOOK, {"hook_name": "blocks.2.hook_resid_post"}, "SAE_HOOK_NAME"),
    ],
)
def test_what_is_open_or_contradicted_names_the_setting_that_decides_it(
    tmp_path: Path, overrides: SaeOverrides, config: dict[str, object], setting: str
) -> None:
    error = _says(tmp_path, overrides, **config)
    assert isinstance(error, UnsupportedError)
    assert setting in error.hint


def test_a_hook_name_that_nobody_can_read_may_be_overridden(tmp_path: Path) -> None:
    write_sae(tmp_path, random_weights(), {**BARE_CONFIG, "hook_name": "layer thirty"})
    assert read_sae_config(tmp_path, RELU_AT_HOOK).hook_name == HOOK_FOLDER


def test_a_config_and_weights_of_different_kinds_are_refused(tmp_path: Path) -> None:
    write_sae(tmp_path, random_weights("jumprelu"), {**SAELENS_CONFIG, "architecture": "standard"})
    with pytest.raises(UnsupportedError, match="weights are those of a jumprelu one"):
        read_sae_config(tmp_path)


def _no_weights(folder: Path) -> None:
    (folder / "sae_weights.safetensors").unlink()


def _pickled(folder: Path) -> None:
    (folder / "sae_weights.safetensors").rename(folder / "sae.pt")


def _numpy_archive(folder: Path) -> None:
    (folder / "sae_weights.safetensors").rename(folder / "params.npz")


def _no_config(folder: Path) -> None:
    (folder / "cfg.json").unlink()


def _truncated(folder: Path) -> None:
    path = folder / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def _no_safetensors(folder: Path) -> None:
    (folder / "sae_weights.safetensors").write_bytes(b"not a safetensors file at all")


def _lacks_a_tensor(folder: Path) -> None:
    weights = random_weights()
    del weights["b_enc"]
    write_sae(folder, weights, _config(folder))


def _other_width(folder: Path) -> None:
    (folder / "cfg.json").write_text(json.dumps({**_config(folder), "d_in": 64}))


def _other_bias(folder: Path) -> None:
    write_sae(folder, {**random_weights(), "b_enc": torch.zeros(7)}, _config(folder))


def _foreign_names(folder: Path) -> None:
    write_sae(folder, {"kernel": torch.zeros(3, 3)}, _config(folder))


def _config(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "cfg.json").read_text())
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(
    ("break_it", "error", "says"),
    [
        (_no_weights, WeightsMissingError, r"no sae_weights\.safetensors"),
        (_pickled, WeightsMissingError, r"only as sae\.pt"),
        (_numpy_archive, WeightsMissingError, r"only as params\.npz"),
        (_no_config, WeightsMissingError, r"no cfg\.json"),
        (_truncated, WeightsMissingError, "is incomplete: it has"),
        (_no_safetensors, WeightsMissingError, "broken or incomplete"),
        (_lacks_a_tensor, WeightsMissingError, "lacks b_enc"),
        (_other_width, SourceMismatchError, "d_in = 64"),
        (_other_bias, SourceMismatchError, r"b_enc has the shape \(7,\)"),
        (_foreign_names, UnsupportedError, "no encoder"),
    ],
)
def test_a_broken_folder_is_one_sentence_and_a_hint(
    tmp_path: Path, break_it: Callable[[Path], None], error: type[EngineError], says: str
) -> None:
    folder = tmp_path / "sae"
    write_sae(folder, random_weights(), {**SAELENS_CONFIG, "architecture": "standard"})
    break_it(folder)
    with pytest.raises(error, match=says) as caught:
        read_sae_config(folder)
    assert caught.value.hint
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("name", ["W_enc", "b_enc"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, name: str) -> None:
    weights = random_weights()
    weights[name].view(-1)[-1] = float("nan")
    write_sae(tmp_path, weights, {**SAELENS_CONFIG, "architecture": "standard"})
    with pytest.raises(WeightsMissingError, match=f"{name} holds values that are no finite"):
        _load(tmp_path)


def test_the_header_tells_the_memory_of_an_sae(tmp_path: Path) -> None:
    write_sae(tmp_path, random_weights(), SAELENS_CONFIG)
    n_numbers = 2 * D_MODEL * D_SAE + D_MODEL + D_SAE
    assert sae_weight_bytes(tmp_path, "bfloat16") == 2 * n_numbers
    encoder = 4 * (n_numbers - D_MODEL * D_SAE)
    assert sae_weight_bytes(tmp_path, "float32", with_decoder=False) == encoder


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_sae_is_read_in_the_precision_of_its_model(tmp_path: Path, dtype: torch.dtype) -> None:
    write_sae(tmp_path, linear_names(random_weights()), BARE_CONFIG, "config.json")
    config: SaeConfig = read_sae_config(tmp_path, RELU_AT_HOOK)
    sae = load_sae(tmp_path, config, dtype, torch.device("cpu"))
    assert (sae.W_enc.dtype, sae.b_dec.dtype) == (dtype, dtype)
    got = encode_dense(sae, _residual()).float()
    expected = encode_dense(_load(tmp_path, RELU_AT_HOOK), _residual())
    torch.testing.assert_close(got, expected, atol=0.1, rtol=0.05)
