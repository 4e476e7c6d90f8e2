"""The logit lens against torch and transformers, on tiny checkpoints of all six architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.devices import choose_placement
from engine.errors import UnsupportedError
from engine.feature_maths.logit_lens import direction_logits, read_lens
from engine.feature_maths.token_names import read_token_names
from engine.feature_maths.unembedding import open_unembedding
from engine.loading import load_language_model
from tests.engine.checkpoints import D_MODEL
from tests.engine.checkpoints_models import ARCHITECTURES, save_model

FINAL_NORMS = {"gpt2": "ln_f"}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name: str = request.param
    folder = tmp_path_factory.mktemp("lens") / name
    save_model(folder, name)
    _disturb_norms(folder)
    return folder


def _disturb_norms(folder: Path) -> None:
    """Gives the final norm gains of its own: fresh ones are all alike, and hide a missing one."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(3)
    changed = [name for name in tensors if name.endswith(("ln_f.weight", ".norm.weight"))]
    changed = [name for name in changed if "vision" not in name and "projector" not in name]
    assert len(changed) == 1, changed
    tensors[changed[0]] += torch.randn(tensors[changed[0]].shape, generator=generator) * 0.5
    save_file(tensors, path, metadata={"format": "pt"})


def _small_step(folder: Path, direction: torch.Tensor) -> torch.Tensor:
    """How the model's own logits move when its last residual moves a little along a direction.

    The residual is one of root mean square 1 on which the norm's own scaling does not change: the
    direction is taken orthogonal to it.
    """
    language = load_language_model(folder, "float32", choose_placement("cpu"))
    decoder = language.model.get_decoder()
    norm = getattr(decoder, FINAL_NORMS.get(folder.name, "norm")).double()
    head = language.model.get_output_embeddings().double()
    residual = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(1)).double()
    if folder.name == "gpt2":
        residual = residual - residual.mean()
        direction = direction - direction.mean()
    residual = residual - direction * (residual @ direction) / (direction @ direction)
    residual = residual / residual.square().mean().sqrt()
    step = 1e-4
    with torch.inference_mode():
        moved = head(norm(residual + step * direction)) - head(norm(residual - step * direction))
    logits: torch.Tensor = moved / (2 * step)
    return logits - logits.mean()


def test_the_lens_is_how_the_model_s_own_logits_move(checkpoint: Path) -> None:
    direction = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(2))
    expected = _small_step(checkpoint, direction.double()).numpy()
    logits = direction_logits(direction.numpy(), open_unembedding(checkpoint))
    assert logits == pytest.approx(expected, abs=2e-3 * np.abs(expected).max())


def test_tokens_are_named_as_the_tokenizer_decodes_them(checkpoint: Path) -> None:
    names = read_token_names(checkpoint)
    tokenizer = load_language_model(checkpoint, "float32", choose_placement("cpu")).tokenizer
    for token_id in range(names.n_tokens):
        decoded = tokenizer.decode([token_id], skip_special_tokens=False)
        if "\ufffd" not in decoded:
            assert names.text(token_id) == decoded


def test_soft_caps_are_told(checkpoint: Path) -> None:
    notes = open_unembedding(checkpoint).notes
    assert any("caps" in note for note in notes) == (checkpoint.name == "gemma2")


def test_bfloat16_files_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    save_model(tmp_path / "llama", "llama", torch.bfloat16)
    direction = np.linspace(-1, 1, D_MODEL, dtype=np.float32)
    language = load_language_model(tmp_path / "llama", "bfloat16", choose_placement("cpu"))
    weight = language.model.get_output_embeddings().weight.float()
    expected = (weight @ torch.from_numpy(direction)).numpy()
    logits = direction_logits(direction, open_unembedding(tmp_path / "llama"))
    assert logits == pytest.approx(expected - expected.mean(), abs=1e-5)


def test_top_bottom_and_histogram_cover_the_vocabulary(checkpoint: Path) -> None:
    unembedding = open_unembedding(checkpoint)
    names = read_token_names(checkpoint)
    direction = np.linspace(-1, 1, D_MODEL, dtype=np.float32)
    logits = direction_logits(direction, unembedding, names.n_tokens)
    lens = read_lens(logits, names, ())
    known = np.sort(logits[: names.n_tokens])
    assert [item.logit for item in lens.top] == pytest.approx(known[::-1][:20])
    assert [item.logit for item in lens.bottom] == pytest.approx(known[:20])
    assert sum(item.n_tokens for item in lens.bins) == names.n_tokens
    assert all(item.text == names.text(item.token_id) for item in lens.top)


def test_rows_beyond_the_tokenizer_are_no_tokens(checkpoint: Path) -> None:
    direction = np.ones(D_MODEL, np.float32)
    logits = direction_logits(direction, open_unembedding(checkpoint), 100)
    assert np.isnan(logits[100:]).all()
    assert np.nanmean(logits) == pytest.approx(0, abs=1e-5)


def test_a_checkpoint_without_an_output_layer_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_model(tmp_path / "llama", "llama")
    path = tmp_path / "llama" / "model.safetensors"
    tensors = {name: value for name, value in load_file(path).items() if "embed" not in name}
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(UnsupportedError, match="no output layer"):
        open_unembedding(tmp_path / "llama")
