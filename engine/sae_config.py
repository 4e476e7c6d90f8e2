"""How an SAE encodes, as its config, its tensors and the user's settings say; free of torch.

Invariant: a config that is returned says everything that encoding needs; what files and settings
leave open, and what this engine cannot compute exactly, is refused with what would decide it.

Source: https://github.com/decoderesearch/SAELens (saes/*.py, loading/pretrained_sae_loaders.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.definitions import SaeActivation, SaeOverrides
from engine.errors import UnsupportedError, WeightsMissingError
from engine.file_names import shown_name
from engine.hook_names import parse_hook_name
from engine.sae_layouts import Part, SaeLayout, find_config, find_layout, find_weights

Architecture = Literal["standard", "topk", "jumprelu", "gated"]
Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]

_ACTIVATIONS: Mapping[SaeActivation, Architecture] = {
    "relu": "standard",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "gated",
}
_NEEDED: Mapping[Architecture, tuple[Part, ...]] = {
    "standard": ("b_enc",),
    "topk": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
    "gated": ("b_gate", "r_mag", "b_mag"),
}
# a config with one of these was written by SAELens, which takes what it leaves out to be ReLU
_SAELENS_KEYS = frozenset(
    {"activation_fn", "activation_fn_str", "architecture", "hook_point", "l1_coefficient"}
    | {"metadata", "sae_lens_training_version", "sae_lens_version"}
)
_DECIDES_ACTIVATION = (
    "Set SAE_ACTIVATION to relu, topk, jumprelu or gated, as its authors say "
    "(`activation` in a source's definition)."
)
_DECIDES_K = "Set SAE_K to the number that it was trained with (`k` in a source's definition)."
_DECIDES_HOOK = (
    "Set SAE_HOOK_NAME, such as blocks.30.hook_resid_post (`hook_name` in a source's definition)."
)


@dataclass(frozen=True, slots=True)
class SaeConfig:
    """How an SAE encodes, and where its tensors are.

    Attributes:
        d_in: width of its input; d_sae: number of features.
        k: features kept a token; None unless the architecture is `topk`.
        hook_name: the hook point it was trained on.
        apply_b_dec_to_input: whether b_dec is taken from the input before encoding.
        normalisation: of the input, undone on the output.
        rescale_by_decoder_norm: whether pre-activations are multiplied by the norms of W_dec.
        model_name: what it was trained on, as its config says, or an empty text.
        layout: its files and the tensors in them.
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
    layout: SaeLayout


def read_sae_config(folder: Path, overrides: SaeOverrides = SaeOverrides()) -> SaeConfig:
    """Reads the config of an SAE's folder and the header of its weights.

    Args:
        folder: in one of the layouts that `sae_layouts` knows.
        overrides: decide what the files leave open; they never contradict the files.

    Raises:
        WeightsMissingError: if the folder lacks a file or a tensor, or one is broken.
        SourceMismatchError: if config and weights are not of one SAE.
        UnsupportedError: if the config is not JSON, or it is left open how to encode.
    """
    path = find_config(folder)
    find_weights(folder)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnsupportedError(
            f"The SAE config {path.name} of {shown_name(folder)!r} cannot be read as JSON.",
            "Copy the file again from where the SAE was published.",
        ) from error
    if not isinstance(content, dict):
        raise UnsupportedError(f"The SAE config of {shown_name(folder)!r} is not a JSON object.")
    d_in = _count(content, "d_in")
    d_sae = _count(content, "d_sae") or _count(content, "d_hidden")
    layout = find_layout(folder, d_in, d_sae)
    return parse_sae_config(content, layout, folder.name, overrides)


def parse_sae_config(
    content: Mapping[str, object], layout: SaeLayout, folder_name: str, overrides: SaeOverrides
) -> SaeConfig:
    """Turns the JSON of a config, of any age, into an SaeConfig.

    Args:
        content: the config.
        layout: the files that it belongs to.
        folder_name: where they are; some name their hook point there and nowhere else.
        overrides: decide what is left open.

    Raises:
        WeightsMissingError: if a tensor is missing that the architecture needs.
        UnsupportedError: naming what is left open or cannot be honoured.
    """
    _refuse_what_cannot_be_honoured(content)
    architecture = _architecture(content, layout, overrides)
    needed: list[Part] = list(_NEEDED[architecture])
    rescales = bool(content.get("rescale_acts_by_decoder_norm", False))
    if not layout.is_linear or rescales:
        needed += ["W_dec", "b_dec"]
    if missing := [part for part in needed if part not in layout.places]:
        raise WeightsMissingError(
            f"The SAE's file {layout.weights_file} lacks {missing[0]}, which an SAE of the kind "
            f"{architecture} needs.",
            "Copy the SAE again, or check which kind it is.",
        )
    return SaeConfig(
        architecture=architecture,
        d_in=layout.d_in,
        d_sae=layout.d_sae,
        k=_k(content, layout.d_sae, overrides) if architecture == "topk" else None,
        hook_name=_hook_name(content, folder_name, overrides),
        apply_b_dec_to_input=_applies_b_dec(content, layout, overrides),
        normalisation=_normalisation(content),
        rescale_by_decoder_norm=rescales,
        model_name=str(content.get("model_name") or _metadata(content).get("model_name") or ""),
        layout=layout,
    )


def _refuse_what_cannot_be_honoured(content: Mapping[str, object]) -> None:
    if content.get("reshape_activations", "none") not in ("none", None):
        raise UnsupportedError("SAEs on reshaped attention heads (hook_z) are not supported.")
    if content.get("finetuning_scaling_factor"):
        raise UnsupportedError("SAEs with a finetuning scaling factor are not supported.")


def _architecture(
    content: Mapping[str, object], layout: SaeLayout, overrides: SaeOverrides
) -> Architecture:
    """What the config says; else what the tensors prove; else what the settings decide."""
    stated = _stated_architecture(content)
    proven: Architecture | None = None
    if "b_gate" in layout.places:
        proven = "gated"
    elif "threshold" in layout.places:
        proven = "jumprelu"
    if stated and proven and stated != proven:
        raise UnsupportedError(
            f"The SAE's config says {stated}, but its weights are those of a {proven} one.",
            "Config and weights are of different SAEs; copy both again.",
        )
    known = stated or proven
    wanted = _ACTIVATIONS[overrides.activation] if overrides.activation else None
    if known and wanted and wanted != known:
        raise UnsupportedError(
            f"The SAE's files say that it is of the kind {known}, not {wanted}.",
            "Unset SAE_ACTIVATION, or `activation` in the source's definition.",
        )
    if decided := known or wanted:
        return decided
    raise UnsupportedError(
        "The SAE's files do not say which activation function it was trained with.",
        _DECIDES_ACTIVATION,
    )


def _stated_architecture(content: Mapping[str, object]) -> Architecture | None:
    if not _SAELENS_KEYS & set(content):
        return _plainly_stated(content)
    activation = content.get("activation_fn", content.get("activation_fn_str")) or "relu"
    stated = content.get("architecture") or "standard"
    if stated == "standard":
        # before version 6 a top-k SAE was a standard one with another activation function
        if activation == "topk":
            return "topk"
        if activation != "relu":
            raise UnsupportedError(f"The activation function {activation!r} is not supported.")
        return "standard"
    for known in _NEEDED:
        if stated == known:
            return known
    raise UnsupportedError(
        f"SAEs of the kind {str(stated)[:40]!r} are not supported.",
        f"Supported: {', '.join(_NEEDED)}.",
    )


def _plainly_stated(content: Mapping[str, object]) -> Architecture | None:
    """What a config of another writer says: `activation`, or a number of features to keep."""
    activation = content.get("activation")
    if activation is None:
        return "topk" if "k" in content else None
    for known, architecture in _ACTIVATIONS.items():
        if str(activation).lower() == known:
            return architecture
    raise UnsupportedError(
        f"The activation function {str(activation)[:40]!r} is not supported.",
        f"Supported: {', '.join(_ACTIVATIONS)}.",
    )


def _k(content: Mapping[str, object], d_sae: int, overrides: SaeOverrides) -> int:
    kwargs = content.get("activation_fn_kwargs")
    stated = _count(content, "k")
    if stated is None and isinstance(kwargs, dict):
        stated = _count(kwargs, "k")
    if stated and overrides.k and stated != overrides.k:
        raise UnsupportedError(
            f"The SAE's config says k = {stated}, not {overrides.k}.",
            "Unset SAE_K, or `k` in the source's definition.",
        )
    k = stated or overrides.k
    if k is None:
        raise UnsupportedError(
            "The SAE keeps the strongest features of each token, but its files do not say how many "
            "(k).",
            _DECIDES_K,
        )
    if k > d_sae:
        raise UnsupportedError(
            f"The SAE's k is {k:,}, more than its {d_sae:,} features.", _DECIDES_K
        )
    return k


def _hook_name(content: Mapping[str, object], folder_name: str, overrides: SaeOverrides) -> str:
    """The config's name of the hook point; else the folder's; else of the config's layer."""
    stated = content.get("hook_name") or _metadata(content).get("hook_name")
    stated = stated or content.get("hook_point")
    if not isinstance(stated, str):
        stated = folder_name if _is_hook(folder_name) else None
    if stated is None:
        layers = (content.get(key) for key in ("layer", "hook_layer", "hook_point_layer"))
        layer = next((n for n in layers if isinstance(n, int) and not isinstance(n, bool)), None)
        stated = None if layer is None else f"blocks.{layer}.hook_resid_post"
    wanted = overrides.hook_name
    if stated is None and wanted is None:
        raise UnsupportedError("The SAE's files do not say which layer it reads.", _DECIDES_HOOK)
    if wanted is None or stated is None:
        return str(stated or wanted)
    if _is_hook(stated) and parse_hook_name(stated) != parse_hook_name(wanted):
        raise UnsupportedError(
            f"The SAE's files say that it reads {stated}, not {wanted[:80]}.",
            "Unset SAE_HOOK_NAME, or `hook_name` in the source's definition.",
        )
    return wanted


def _is_hook(name: str) -> bool:
    try:
        parse_hook_name(name)
    except UnsupportedError:
        return False
    return True


def _applies_b_dec(
    content: Mapping[str, object], layout: SaeLayout, overrides: SaeOverrides
) -> bool:
    stated = content.get("apply_b_dec_to_input")
    if stated is not None:
        return bool(stated)
    if overrides.apply_b_dec_to_input is not None:
        return overrides.apply_b_dec_to_input
    # SAELens subtracted it before it wrote the choice down; two linear layers are just applied
    return not layout.is_linear


def _normalisation(content: Mapping[str, object]) -> Normalisation:
    stated = content.get("normalize_activations", "none")
    if stated in (None, False, "none"):
        return "none"
    if stated == "layer_norm":
        return "layer_norm"
    if stated == "constant_norm_rescale":
        return "constant_norm_rescale"
    raise UnsupportedError(
        f"normalize_activations is {stated!r}: its scaling factor is not in the files.",
        "Fold the factor into the weights with sae-lens (fold_activation_norm_scaling_factor).",
    )


def _metadata(content: Mapping[str, object]) -> Mapping[str, object]:
    nested = content.get("metadata")
    return nested if isinstance(nested, dict) else {}


def _count(content: Mapping[str, object], key: str) -> int | None:
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UnsupportedError(
            f"The SAE's config says {key} = {value!r}; a whole number above 0 is needed.",
            f"Set {key} in the SAE's config.",
        )
    return value
