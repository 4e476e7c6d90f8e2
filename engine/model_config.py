"""What a model's `config.json` says about its shape, read without torch.

Invariant: a folder that passes has every file of weights that its index names, in safetensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnsupportedError, WeightsMissingError

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of a causal language model.

    Attributes:
        architecture: class name of its checkpoint, such as MistralForCausalLM.
        dtype: `float32`, `bfloat16` or `float16`, as its files are stored.
        n_context: longest sequence in tokens.
    """

    architecture: str
    n_layers: int
    d_model: int
    n_context: int
    dtype: str


def read_model_config(folder: Path) -> ModelConfig:
    """Reads config.json and checks that the weights that belong to it are there.

    Raises:
        WeightsMissingError: if config or weights are missing or not whole.
        UnsupportedError: if the config does not say the model's shape.
    """
    content = _read_json(folder / "config.json")
    check_weight_files(folder)
    nested = content.get("text_config")
    text: dict[str, object] = nested if isinstance(nested, dict) else content
    names = content.get("architectures")
    if not isinstance(names, list) or not names:
        raise UnsupportedError(
            f"The config of {folder.name!r} names no architecture.",
            'Its config.json needs "architectures", such as ["MistralForCausalLM"].',
        )
    dtype = str(
        content.get("dtype") or content.get("torch_dtype") or text.get("dtype") or "float32"
    )
    return ModelConfig(
        architecture=str(names[0]),
        n_layers=_count(text, "num_hidden_layers", "n_layer"),
        d_model=_count(text, "hidden_size", "n_embd"),
        n_context=_count(text, "max_position_embeddings", "n_positions"),
        dtype=dtype if dtype in _DTYPES else "float32",
    )


def check_weight_files(folder: Path) -> None:
    """Checks that a folder has all its safetensors files.

    Raises:
        WeightsMissingError: if there are none, or the index names files that are absent.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = _read_json(index).get("weight_map")
        names = {str(name) for name in shards.values()} if isinstance(shards, dict) else set()
        missing = sorted(name for name in names if not (folder / name).is_file())
        if missing or not names:
            raise WeightsMissingError(
                f"{folder.name!r} lacks {len(missing)} of {len(names)} files of weights"
                f"{': ' + missing[0] if missing else ''}.",
                "Download it again; finished files are kept.",
            )
    elif not (folder / "model.safetensors").is_file():
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        raise WeightsMissingError(
            f"{folder.name!r} has no model.safetensors.",
            "Pickled weights are never loaded; get a safetensors copy."
            if pickled
            else "Copy or download the weights into it.",
        )


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsMissingError(
            f"{path.parent.name!r} has no {path.name}.", "Give a folder with a whole checkpoint."
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsMissingError(
            f"The file {path.name} of {path.parent.name!r} cannot be read.",
            "Copy the file again from where the model was published.",
        ) from error
    if not isinstance(content, dict):
        raise UnsupportedError(f"The file {path.name} of {path.parent.name!r} is no JSON object.")
    return content


def _count(config: dict[str, object], *names: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and value > 0:
            return value
    raise UnsupportedError(f"The model's config.json does not say {names[0]}.")
