"""What a model's `config.json` says about its shape, read without torch.

Invariant: a folder that passes has every file of weights that its index names, in safetensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UnsupportedError, WeightsMissingError
from engine.file_names import is_inside, shown_name
from engine.safetensors_header import read_header

INDEX_FILE = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"
_DTYPES = ("float32", "bfloat16", "float16")
_OUTPUT_LAYERS = ("lm_head.weight", "language_model.lm_head.weight")
"""Names of the output layer, which a checkpoint may store although it is the input one."""


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
    weight_files(folder)
    nested = content.get("text_config")
    text: dict[str, object] = nested if isinstance(nested, dict) else content
    names = content.get("architectures")
    if not isinstance(names, list) or not names:
        raise UnsupportedError(
            f"The config of {shown_name(folder)!r} names no architecture.",
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


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint, all of which are there.

    Raises:
        WeightsMissingError: if there are none, or the index names files that are absent.
        UnsupportedError: if the index names files outside the folder.
    """
    index = folder / INDEX_FILE
    if index.is_file():
        shards = _read_json(index).get("weight_map")
        names = {str(name) for name in shards.values()} if isinstance(shards, dict) else set()
        outside = sorted(name for name in names if not is_inside(name))
        if outside:
            raise UnsupportedError(
                f"The index of {shown_name(folder)!r} names a file outside of its folder: "
                f"{outside[0]!r}.",
                "Do not use this checkpoint; get it from where the model was published.",
            )
        missing = sorted(name for name in names if not (folder / name).is_file())
        if missing or not names:
            raise WeightsMissingError(
                f"{shown_name(folder)!r} lacks {len(missing)} of {len(names)} files of weights"
                f"{': ' + missing[0] if missing else ''}.",
                "Download it again; finished files are kept.",
            )
        return tuple(folder / name for name in sorted(names))
    if not (folder / WEIGHTS_FILE).is_file():
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        raise WeightsMissingError(
            f"{shown_name(folder)!r} has no {WEIGHTS_FILE}.",
            "Pickled weights are never loaded; get a safetensors copy."
            if pickled
            else "Copy or download the weights into it.",
        )
    return (folder / WEIGHTS_FILE,)


def weight_bytes(folder: Path, dtype: str) -> int:
    """Memory that a checkpoint's weights take, in bytes, by the headers of its files.

    An output layer that is tied to the input one counts once, as it is loaded once.

    Args:
        folder: of the checkpoint.
        dtype: that it is loaded in: `float32`, `bfloat16` or `float16`.

    Raises:
        WeightsMissingError: if files are missing or cut short.
        UnsupportedError: if the index names files outside the folder.
    """
    content = _read_json(folder / "config.json")
    nested = content.get("text_config")
    text: dict[str, object] = nested if isinstance(nested, dict) else content
    is_tied = text.get("tie_word_embeddings", content.get("tie_word_embeddings")) is True
    return sum(
        entry.loaded_bytes(dtype)
        for path in weight_files(folder)
        for name, entry in read_header(path).items()
        if not (is_tied and name in _OUTPUT_LAYERS)
    )


def _read_json(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsMissingError(
            f"{shown_name(path.parent)!r} has no {path.name}.",
            "Give a folder with a whole checkpoint.",
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsMissingError(
            f"The file {path.name} of {shown_name(path.parent)!r} cannot be read.",
            "Copy the file again from where the model was published.",
        ) from error
    if not isinstance(content, dict):
        raise UnsupportedError(
            f"The file {path.name} of {shown_name(path.parent)!r} is no JSON object.",
            "Copy the file again from where the model was published.",
        )
    return content


def _count(config: dict[str, object], *names: str) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and value > 0:
            return value
    raise UnsupportedError(
        f"The model's config.json does not say {names[0]}.",
        "Give a causal language model, as it was published.",
    )
