"""Loading: six architectures, their tokenizers, three precisions; what is broken is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import engine.generation
from engine.devices import choose_placement
from engine.errors import DeviceError, EngineError, UnsupportedError, WeightsMissingError
from engine.generation import generate
from engine.hook_names import HookPoint
from engine.loading import LanguageModel, load_language_model
from engine.model_config import read_model_config, weight_bytes
from engine.tokenizing import reads_chats
from store.specs import SamplingSpec
from tests.engine.checkpoints import D_MODEL, N_LAYERS
from tests.engine.checkpoints_models import ARCHITECTURES, WINDOW, save_model
from tests.engine.checkpoints_tekken import BOS_ID, EOS_ID, PAD_ID, save_tekken

CPU = choose_placement("cpu")
PROMPT = tuple(range(40, 40 + 3 * WINDOW))
"""Longer than any window, and of ids that every tokenizer here has."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of each architecture."""
    root = tmp_path_factory.mktemp("models")
    for name in ARCHITECTURES:
        save_model(root / name, name)
    return root


@pytest.fixture(scope="module", params=ARCHITECTURES)
def language(request: pytest.FixtureRequest, folders: Path) -> LanguageModel:
    """One model after the other, in float32 on the CPU."""
    return load_language_model(folders / request.param, "float32", CPU)


@pytest.fixture
def llama(folders: Path, tmp_path: Path) -> Path:
    """A copy of the Llama that a test may break."""
    return Path(shutil.copytree(folders / "llama", tmp_path / "llama"))


def _hidden_states(language: LanguageModel, ids: tuple[int, ...]) -> list[torch.Tensor]:
    """By transformers itself: the input of each layer, and what the final norm was given."""
    seen: list[torch.Tensor] = []
    decoder = language.model.get_decoder()
    norm = getattr(decoder, "norm", None) or decoder.ln_f
    handle = norm.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    try:
        with torch.inference_mode():
            output = language.model(
                input_ids=torch.tensor([ids]), output_hidden_states=True, use_cache=False
            )
    finally:
        handle.remove()
    states = [state[0] for state in output.hidden_states]
    assert len(states) == N_LAYERS + 1
    return [*states[:-1], seen[0][0]]


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_what_is_captured_equals_the_hidden_states_of_a_forward_without_cache(
    language: LanguageModel, layer: int
) -> None:
    for site, index in (("resid_pre", layer), ("resid_post", layer + 1)):
        hook = HookPoint(layer, "resid_pre" if site == "resid_pre" else "resid_post")
        result = generate(
            language.model,
            hook,
            PROMPT,
            SamplingSpec(max_new_tokens=2 * WINDOW),
            frozenset(),
            256,
            lambda _step: None,
            lambda: False,
        )
        assert result.residual is not None
        assert result.residual.shape == (len(PROMPT) + 2 * WINDOW, D_MODEL)
        expected = _hidden_states(language, result.token_ids)[index]
        torch.testing.assert_close(result.residual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["mistral", "phi3", "gemma2"])
@pytest.mark.parametrize("chunk", [WINDOW - 3, WINDOW + 4])
def test_a_prompt_read_in_chunks_sees_the_same_windows(
    folders: Path, monkeypatch: pytest.MonkeyPatch, name: str, chunk: int
) -> None:
    language = load_language_model(folders / name, "float32", CPU)
    monkeypatch.setattr(engine.generation, "_LONGEST_CHUNK", chunk)
    result = generate(
        language.model,
        HookPoint(N_LAYERS - 1, "resid_post"),
        PROMPT,
        SamplingSpec(max_new_tokens=WINDOW),
        frozenset(),
        256,
        lambda _step: None,
        lambda: False,
    )
    assert result.residual is not None
    expected = _hidden_states(language, result.token_ids)[N_LAYERS]
    torch.testing.assert_close(result.residual, expected, atol=1e-4, rtol=0)


def test_values_that_overflow_are_refused_with_the_precision_that_helps(tmp_path: Path) -> None:
    save_model(tmp_path, "llama")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.embed_tokens.weight"] *= 1e5
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    language = load_language_model(tmp_path, "float16", CPU)
    with pytest.raises(UnsupportedError, match="no finite numbers") as caught:
        generate(
            language.model,
            HookPoint(0, "resid_post"),
            PROMPT,
            None,
            frozenset(),
            256,
            lambda _step: None,
            lambda: False,
        )
    assert "MODEL_DTYPE" in caught.value.hint


def test_logprobs_equal_those_of_a_forward_without_cache(language: LanguageModel) -> None:
    result = generate(
        language.model,
        None,
        PROMPT,
        SamplingSpec(max_new_tokens=WINDOW),
        frozenset(),
        256,
        lambda _step: None,
        lambda: False,
    )
    assert result.residual is None
    with torch.inference_mode():
        output = language.model(input_ids=torch.tensor([result.token_ids]), use_cache=False)
    logprobs = output.logits[0].log_softmax(-1)
    for step in result.steps:
        row = logprobs[step.position - 1]
        assert step.logprob == pytest.approx(row[step.token_id].item(), abs=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_config_says_the_shape_of_the_text_decoder(folders: Path, name: str) -> None:
    config = read_model_config(folders / name)
    assert (config.n_layers, config.d_model, config.n_context) == (N_LAYERS, D_MODEL, 256)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["mistral3", "gpt2", "gemma2"])
def test_every_precision_loads_from_any_other_and_answers(
    folders: Path, tmp_path: Path, name: str, dtype: str
) -> None:
    save_model(tmp_path / name, name, torch.bfloat16)
    for folder in (folders / name, tmp_path / name):
        loaded = load_language_model(folder, dtype, CPU)
        kinds = {parameter.dtype for parameter in loaded.model.parameters()}
        assert kinds == {getattr(torch, dtype)}
        result = generate(
            loaded.model,
            HookPoint(1, "resid_post"),
            PROMPT,
            SamplingSpec(max_new_tokens=3),
            frozenset(),
            256,
            lambda _step: None,
            lambda: False,
        )
        assert result.residual is not None
        assert result.residual.dtype == getattr(torch, dtype)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_headers_tell_the_memory_that_the_weights_take(
    folders: Path, name: str, dtype: str
) -> None:
    loaded = load_language_model(folders / name, dtype, CPU)
    taken = sum(p.numel() * p.element_size() for p in loaded.model.parameters())
    assert weight_bytes(folders / name, dtype) == taken


def test_an_output_layer_that_is_stored_though_it_is_tied_counts_once(llama: Path) -> None:
    before = weight_bytes(llama, "bfloat16")
    tensors = load_file(llama / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, llama / "model.safetensors", metadata={"format": "pt"})
    assert weight_bytes(llama, "bfloat16") == before


def test_an_output_layer_of_its_own_is_kept_though_the_config_ties_by_default(
    folders: Path,
) -> None:
    stored = load_file(folders / "mistral3" / "model.safetensors")
    model = load_language_model(folders / "mistral3", "float32", CPU).model
    output, tokens = model.get_output_embeddings(), model.get_input_embeddings()
    [name] = [name for name in stored if name.endswith("lm_head.weight")]
    assert torch.equal(output.state_dict()["weight"], stored[name])
    assert not torch.equal(stored[name], tokens.state_dict()["weight"])


def test_several_shards_are_one_model(folders: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "sharded", "llama", shard="40KB")
    assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 2
    whole = load_language_model(folders / "llama", "float32", CPU).model.state_dict()
    sharded = load_language_model(tmp_path / "sharded", "float32", CPU).model.state_dict()
    assert all(torch.equal(tensor, sharded[name]) for name, tensor in whole.items())
    assert weight_bytes(tmp_path / "sharded", "float32") == weight_bytes(
        folders / "llama", "float32"
    )


def test_tekken_comes_with_its_special_tokens(folders: Path) -> None:
    tokenizer = load_language_model(folders / "mistral3", "float32", CPU).tokenizer
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (BOS_ID, EOS_ID)
    assert tokenizer.pad_token_id == PAD_ID
    assert tokenizer("Anna")["input_ids"][0] == BOS_ID
    assert reads_chats(tokenizer)


def test_an_answer_ends_at_the_end_token_of_tekken(folders: Path) -> None:
    assert load_language_model(folders / "mistral3", "float32", CPU).end_ids == {EOS_ID}


def test_tekken_that_would_be_read_without_bos_is_refused(llama: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (llama / name).unlink()
    save_tekken(llama)
    with pytest.raises(UnsupportedError, match="without the token that begins every text"):
        load_language_model(llama, "float32", CPU)


def test_code_that_comes_with_a_model_is_neither_run_nor_asked_about(llama: Path) -> None:
    content = json.loads((llama / "config.json").read_text())
    content |= {"model_type": "foreign", "auto_map": {"AutoConfig": "configuration_foreign.C"}}
    (llama / "config.json").write_text(json.dumps(content))
    (llama / "configuration_foreign.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(UnsupportedError):
        load_language_model(llama, "float32", CPU)


def _no_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def _broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def _truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _other_model(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    renamed = {f"x.{name}": tensor for name, tensor in tensors.items()}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})


def _lacks_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if ".1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def _of_other_sizes(folder: Path) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["intermediate_size"] = 128
    (folder / "config.json").write_text(json.dumps(content))


def _index_leads_outside(folder: Path) -> None:
    index = {"weight_map": {"a": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("break_it", "error", "says"),
    [
        (_no_tokenizer, UnsupportedError, "tokenizer of 'llama' cannot be read"),
        (_broken_tokenizer, UnsupportedError, "tokenizer of 'llama' cannot be read"),
        (_truncated, WeightsMissingError, "cannot be loaded"),
        (_other_model, WeightsMissingError, "lack 30 tensors"),
        (_lacks_a_layer, WeightsMissingError, r"such as model\.layers\.1\."),
        (_of_other_sizes, WeightsMissingError, r"other shapes .*mlp\.down_proj"),
        (_index_leads_outside, UnsupportedError, "outside of its folder"),
    ],
)
def test_a_broken_checkpoint_is_one_sentence_and_a_hint(
    llama: Path, break_it: Callable[[Path], None], error: type[EngineError], says: str
) -> None:
    break_it(llama)
    with pytest.raises(error, match=says) as caught:
        load_language_model(llama, "float32", CPU)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert str(llama.parent) not in caught.value.message


def test_a_folder_with_spaces_and_letters_of_any_language_loads(
    folders: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(folders / "gpt2", tmp_path / "ein Ordner — 模型" / "gpt 2")
    load_language_model(Path(folder), "float32", CPU)


@pytest.mark.parametrize("wanted", ["cuda:99", "cpu,cpu", "cpu,cuda:0", "nonsense", "meta", ""])
def test_a_device_that_cannot_be_used_is_refused(wanted: str) -> None:
    with pytest.raises(DeviceError) as caught:
        choose_placement(wanted)
    assert "DEVICE" in caught.value.hint
