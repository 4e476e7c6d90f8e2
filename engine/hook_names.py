"""Hook point names as the field writes them, and what part of a model they mean. Free of torch.

Invariant: a name either parses to one residual-stream site of one decoder layer, or is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from engine.errors import UnsupportedError

Site = Literal["resid_pre", "resid_post"]

_TRANSFORMER_LENS = re.compile(r"blocks\.(\d{1,4})\.hook_(resid_pre|resid_post)")
_HUGGING_FACE = re.compile(r"(?:model\.|language_model\.|transformer\.)*(?:layers|h)\.(\d{1,4})")


@dataclass(frozen=True, slots=True)
class HookPoint:
    """A site in the residual stream: the input or the output of one decoder layer.

    Attributes:
        layer: index of the decoder layer, from 0.
        site: `resid_pre` is the layer's input, `resid_post` its output.
    """

    layer: int
    site: Site


def layer_of(point: HookPoint) -> int:
    """The decoder layer whose output a hook point is; -1 is the embedding.

    The input of a layer is the output of the one before it.
    """
    return point.layer if point.site == "resid_post" else point.layer - 1


def parse_hook_name(name: str) -> HookPoint:
    """The site that a hook name means.

    Args:
        name: `blocks.N.hook_resid_post`, `blocks.N.hook_resid_pre`, or a module path such as
            `model.layers.N`, which means that layer's output.

    Raises:
        UnsupportedError: for any other hook point.
    """
    if match := _TRANSFORMER_LENS.fullmatch(name):
        site: Site = "resid_pre" if match[2] == "resid_pre" else "resid_post"
        return HookPoint(int(match[1]), site)
    if match := _HUGGING_FACE.fullmatch(name):
        return HookPoint(int(match[1]), "resid_post")
    raise UnsupportedError(
        f"The hook point {name[:80]!r} is not supported.",
        "Use an SAE on blocks.N.hook_resid_post or blocks.N.hook_resid_pre.",
    )
