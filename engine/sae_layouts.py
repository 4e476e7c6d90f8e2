"""Which files an SAE's folder has, and which tensor in them plays which part; free of torch.

Four layouts are published: `cfg.json` or `config.json` beside `sae_weights.safetensors` or
`model.safetensors`, with tensors named as SAELens does or as two linear layers are.

Invariant: every part has the shape that its part must have; nothing is guessed from values.

Source: https://github.com/decoderesearch/SAELens (saes/*.py) for the names of its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.errors import SourceMismatchError, UnsupportedError, WeightsMissingError
from engine.file_names import shown_name
from engine.safetensors_header import TensorEntry, read_header

CONFIG_FILES = ("cfg.json", "config.json")
WEIGHTS_FILES = ("sae_weights.safetensors", "model.safetensors")
_PICKLED = ("*.pt", "*.pth", "*.bin", "*.npz", "*.pkl", "*.ckpt")

Part = Literal[
    "W_enc", "b_enc", "W_dec", "b_dec", "pre_bias", "threshold", "b_gate", "r_mag", "b_mag"
]
_SAELENS: Mapping[Part, str] = {
    "W_enc": "W_enc",
    "b_enc": "b_enc",
    "W_dec": "W_dec",
    "b_dec": "b_dec",
    "threshold": "threshold",
    "b_gate": "b_gate",
    "r_mag": "r_mag",
    "b_mag": "b_mag",
}
_LINEAR: Mapping[Part, str] = {
    "W_enc": "encoder.weight",
    "b_enc": "encoder.bias",
    "W_dec": "decoder.weight",
    "b_dec": "decoder.bias",
    "pre_bias": "pre_bias",
    "threshold": "threshold",
}


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where one part of an SAE is found.

    Attributes:
        name: of the tensor in the file.
        is_transposed: whether the file holds the other axis first.
    """

    name: str
    is_transposed: bool = False


@dataclass(frozen=True, slots=True)
class SaeLayout:
    """The files of an SAE and the parts in them.

    Attributes:
        config_file, weights_file: names inside the folder.
        is_linear: whether the tensors are named as two linear layers are.
        places: where each part is; a part that the files lack is absent.
        d_in, d_sae: as the shapes of the tensors say.
        dtype: precision of W_enc as stored; `float32` where it is another type.
    """

    config_file: str
    weights_file: str
    is_linear: bool
    places: Mapping[Part, TensorPlace]
    d_in: int
    d_sae: int
    dtype: str


def find_layout(folder: Path, d_in: int | None, d_sae: int | None) -> SaeLayout:
    """Finds the weights of a folder and what is in them.

    Args:
        folder: with a config and a file of weights.
        d_in, d_sae: as the config says, where it does; else the shapes decide.

    Raises:
        WeightsMissingError: if a file is missing or broken, or lacks a tensor.
        SourceMismatchError: if a tensor has another shape than the config or the others say.
        UnsupportedError: if the tensors are of no known layout.
    """
    config_file = find_config(folder).name
    weights = find_weights(folder)
    entries = read_header(weights)
    if "W_enc" in entries:
        names, is_linear = _SAELENS, False
    elif "encoder.weight" in entries:
        names, is_linear = _LINEAR, True
    else:
        raise UnsupportedError(
            f"The file {weights.name} of {shown_name(folder)!r} holds no encoder of an SAE.",
            "Its tensors must be named W_enc, b_enc, W_dec and b_dec, or encoder.weight, "
            "encoder.bias, decoder.weight and decoder.bias.",
        )
    encoder = entries[names["W_enc"]]
    d_in, d_sae = _widths(folder, encoder, is_linear, d_in, d_sae)
    places = {
        part: _place(part, name, entries[name], d_in, d_sae, is_linear)
        for part, name in names.items()
        if name in entries
    }
    return SaeLayout(
        config_file=config_file,
        weights_file=weights.name,
        is_linear=is_linear,
        places=places,
        d_in=d_in,
        d_sae=d_sae,
        dtype=encoder.dtype_name or "float32",
    )


def find_config(folder: Path) -> Path:
    """The config of an SAE's folder.

    Raises:
        WeightsMissingError: if there is none.
    """
    return _first_of(folder, CONFIG_FILES)


def find_weights(folder: Path) -> Path:
    """The file of weights of an SAE's folder.

    Raises:
        WeightsMissingError: if there is none, or only pickled ones.
    """
    return _first_of(folder, WEIGHTS_FILES)


def sae_weight_bytes(folder: Path, dtype: str, with_decoder: bool = True) -> int:
    """Memory that the weights of an SAE take in `dtype`, in bytes, by the header of its file.

    Args:
        folder: of the SAE.
        dtype: `float32`, `bfloat16` or `float16`.
        with_decoder: whether to count the decoder's matrix, which no device needs for encoding.

    Raises:
        WeightsMissingError: if the file is missing or broken.
    """
    return sum(
        entry.loaded_bytes(dtype)
        for name, entry in read_header(find_weights(folder)).items()
        if with_decoder or name not in (_SAELENS["W_dec"], _LINEAR["W_dec"])
    )


def _first_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if names is WEIGHTS_FILES and pickled:
        raise WeightsMissingError(
            f"The SAE folder {shown_name(folder)!r} has its weights only as {pickled[0]}, which "
            "could run code when it is read.",
            "Pickled weights and numpy archives are never loaded; get or make a copy in "
            "safetensors.",
        )
    raise WeightsMissingError(
        f"The SAE folder {shown_name(folder)!r} has no {names[0]}.",
        f"An SAE is a folder with {' or '.join(CONFIG_FILES)}, and {' or '.join(WEIGHTS_FILES)}.",
    )


def _widths(
    folder: Path, encoder: TensorEntry, is_linear: bool, d_in: int | None, d_sae: int | None
) -> tuple[int, int]:
    """d_in and d_sae by the encoder's shape, which must agree with what the config says."""
    if len(encoder.shape) != 2 or 0 in encoder.shape:
        raise SourceMismatchError(
            f"The encoder of the SAE {shown_name(folder)!r} has the shape {encoder.shape}.",
            "A matrix is needed; copy its files again, or use another SAE.",
        )
    first, second = encoder.shape
    # a linear layer stores [outputs, inputs]; where the config says otherwise, the file does not
    is_swapped = is_linear and (first, second) != (d_in, d_sae)
    stated = (second, first) if is_swapped else (first, second)
    for name, wanted, actual in zip(("d_in", "d_sae"), (d_in, d_sae), stated, strict=True):
        if wanted not in (None, actual):
            raise SourceMismatchError(
                f"The SAE's W_enc has the shape {encoder.shape}, but its config says "
                f"{name} = {wanted}.",
                "Config and weights are of different SAEs; copy both again.",
            )
    return stated


def _place(
    part: Part, name: str, entry: TensorEntry, d_in: int, d_sae: int, is_linear: bool
) -> TensorPlace:
    shapes: dict[Part, tuple[int, ...]] = {
        "W_enc": (d_in, d_sae),
        "W_dec": (d_sae, d_in),
        "b_dec": (d_in,),
        "pre_bias": (d_in,),
    }
    shape = shapes.get(part, (d_sae,))
    # checked first: a square matrix of a linear layer is [outputs, inputs] like any other
    if is_linear and len(shape) == 2 and entry.shape == shape[::-1]:
        return TensorPlace(name, is_transposed=True)
    if entry.shape != shape:
        raise SourceMismatchError(
            f"The SAE's {name} has the shape {entry.shape}, not {shape}.",
            "Config and weights are of different SAEs; copy both again.",
        )
    return TensorPlace(name)
