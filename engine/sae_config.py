"""The config of an SAE in SAELens layout, read without torch.

Invariant: a config that parses says everything that encoding needs; what it leaves open, or what
this engine cannot compute exactly, is refused with the key that decides it.

Source: https://github.com/decoderesearch/SAELens (saes/*.py, loading/pretrained_sae_loaders.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from engine.errors import UnsupportedError, WeightsMissingError

CONFIG_FILE = "cfg.json"
WEIGHTS_FILE = "sae_weights.safetensors"

Architecture = Literal["standard", "topk", "jumprelu"]
Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]


@dataclass(frozen=True, slots=True)
class SaeConfig:
    """How an SAE encodes.

    Attributes:
        d_in: width of its input; d_sae: number of features.
        k: features kept a token; None unless the architecture is `topk`.
        hook_name: the hook point it was trained on.
        apply_b_dec_to_input: whether b_dec is taken from the input before encoding.
        normalisation: of the input, undone on the output.
        rescale_by_decoder_norm: whether pre-activations are multiplied by the norms of W_dec.
        model_name: what it was trained on, as its config says, or an empty text.
    """

    architecture: Architecture
    d_in: int
    d_sae: int
    k: int | None
    hook_name: str
    apply_b_dec_to_input: bool
    normalisation: Normalisation
    rescale_by_decoder_norm: bool
    model_name: str


def read_sae_config(folder: Path) -> SaeConfig:
    """Reads `cfg.json` in a folder.

    Raises:
        WeightsMissingError: if the folder lacks `cfg.json` or `sae_weights.safetensors`.
        UnsupportedError: if the config is not JSON, or leaves open how to encode.
    """
    path = folder / CONFIG_FILE
    for needed in (path, folder / WEIGHTS_FILE):
        if not needed.is_file():
            raise WeightsMissingError(
                f"The SAE folder {folder.name!r} has no {needed.name}.",
                f"An SAE in SAELens layout is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}.",
            )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedError(
            f"The SAE config {path.name} of {folder.name!r} cannot be read as JSON.",
            "Copy the file again from where the SAE was published.",
        ) from error
    if not isinstance(content, dict):
        raise UnsupportedError(f"The SAE config of {folder.name!r} is not a JSON object.")
    return parse_sae_config(content)


def parse_sae_config(content: dict[str, object]) -> SaeConfig:
    """Turns the JSON of a config, of version 6 or before, into an SaeConfig.

    Raises:
        UnsupportedError: naming the key that is missing or cannot be honoured.
    """
    nested = content.get("metadata")
    metadata: dict[str, object] = nested if isinstance(nested, dict) else {}
    kwargs = content.get("activation_fn_kwargs")
    activation_kwargs: dict[str, object] = kwargs if isinstance(kwargs, dict) else {}
    activation = content.get("activation_fn", content.get("activation_fn_str", "relu"))

    architecture = str(content.get("architecture", "standard"))
    # before version 6 a top-k SAE was a standard one with another activation function
    if architecture == "standard" and activation == "topk":
        architecture = "topk"
    if architecture not in get_args(Architecture):
        raise UnsupportedError(
            f"SAEs of the architecture {architecture!r} are not supported.",
            f"Supported: {', '.join(get_args(Architecture))}.",
        )
    if architecture == "standard" and activation not in ("relu", None):
        raise UnsupportedError(f"The activation function {activation!r} is not supported.")
    k = _count(content, "k", activation_kwargs.get("k")) if architecture == "topk" else None

    normalisation = content.get("normalize_activations", "none")
    if normalisation in (None, False):
        normalisation = "none"
    if normalisation not in get_args(Normalisation):
        raise UnsupportedError(
            f"normalize_activations is {normalisation!r}: its scaling factor is not in the files.",
            "Fold the factor into the weights with sae-lens (fold_activation_norm_scaling_factor).",
        )
    if content.get("reshape_activations", "none") not in ("none", None):
        raise UnsupportedError("SAEs on reshaped attention heads (hook_z) are not supported.")
    if content.get("finetuning_scaling_factor"):
        raise UnsupportedError("SAEs with a finetuning scaling factor are not supported.")

    hook_name = content.get("hook_name", metadata.get("hook_name", content.get("hook_point")))
    if not isinstance(hook_name, str):
        raise UnsupportedError(
            "The SAE's config has no hook_name.", 'Add "hook_name": "blocks.N.hook_resid_post".'
        )
    d_sae = _count(content, "d_sae")
    if k is not None and k > d_sae:
        raise UnsupportedError(f"The SAE's config says k = {k}, more than its {d_sae} features.")
    return SaeConfig(
        architecture=_architecture(architecture),
        d_in=_count(content, "d_in"),
        d_sae=d_sae,
        k=k,
        hook_name=hook_name,
        apply_b_dec_to_input=bool(content.get("apply_b_dec_to_input", True)),
        normalisation=_normalisation(str(normalisation)),
        rescale_by_decoder_norm=bool(content.get("rescale_acts_by_decoder_norm", False)),
        model_name=str(content.get("model_name", metadata.get("model_name", "")) or ""),
    )


def _count(content: dict[str, object], key: str, default: object = None) -> int:
    value = content.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UnsupportedError(
            f"The SAE's config says {key} = {value!r}; a whole number above 0 is needed.",
            f"Set {key} in {CONFIG_FILE}.",
        )
    return value


def _architecture(value: str) -> Architecture:
    return "topk" if value == "topk" else "jumprelu" if value == "jumprelu" else "standard"


def _normalisation(value: str) -> Normalisation:
    if value == "layer_norm":
        return "layer_norm"
    return "constant_norm_rescale" if value == "constant_norm_rescale" else "none"
