"""How a source is written down: which model, which SAE, and what their files leave open.

Invariant: a definition names things; it says nothing of what is on this machine. Free of torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
SaeActivation = Literal["relu", "topk", "jumprelu", "gated"]
Origin = Literal["builtin", "settings", "user"]


@dataclass(frozen=True, slots=True)
class SaeOverrides:
    """What decides how an SAE encodes where its files do not say.

    Attributes:
        hook_name: the hook point that it reads, such as `blocks.30.hook_resid_post`.
        activation: its activation function. k: features kept a token, with `topk`.
        apply_b_dec_to_input: whether the decoder's bias is taken from the input before encoding.
    """

    hook_name: str | None = None
    activation: SaeActivation | None = None
    k: int | None = None
    apply_b_dec_to_input: bool | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What the catalog says of a source before its files are here; None where it does not know.

    Attributes:
        n_layers, d_model, d_sae: shapes.
        kv_width: width of a token's keys in one layer. n_context: longest sequence in tokens.
        hook_name: where the SAE reads the model.
        model_bytes, sae_bytes: size of the download.
        is_gated: whether the hub asks for a licence to be accepted first.
        license: as the hub names it.
    """

    n_layers: int | None = None
    d_model: int | None = None
    d_sae: int | None = None
    kv_width: int | None = None
    n_context: int | None = None
    hook_name: str | None = None
    model_bytes: int | None = None
    sae_bytes: int | None = None
    is_gated: bool = False
    license: str = ""


@dataclass(frozen=True, slots=True)
class SourceDefinition:
    """A model + SAE pair, or a model alone, by the names under which they are found.

    Attributes:
        name: what people call it; lower-case letters, digits, `-`, `_` and `.`.
        model: `org/name`, or a folder.
        model_revision, sae_revision: branch, tag or commit; None is the repository's main branch.
        sae: `org/name`, `org/name:folder/inside`, a folder, `sae-lens:RELEASE/SAE_ID` (an entry
            of sae-lens's registry), or None for a model without an SAE.
        dtype: precision of the model; `auto` is the setting's, else the files'.
        origin: where the definition was written.
    """

    name: str
    title: str
    model: str | None
    sae: str | None
    model_revision: str | None = None
    sae_revision: str | None = None
    dtype: Dtype = "auto"
    overrides: SaeOverrides = field(default_factory=SaeOverrides)
    claims: Claims = field(default_factory=Claims)
    origin: Origin = "builtin"
