"""What features do to the output: first by the gradient, then by adding them and looking.

A feature is good for steering by its effect on the output, which says nothing of how well it tells
inputs apart, and the other way round.

Invariant: the gradient only proposes; what is reported is the measured change of log probability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from engine.concepts.reading import check_layers
from engine.errors import UnsupportedError
from engine.hooks import decoder_layers

if TYPE_CHECKING:
    from engine.resident import ResidentSource

_CHUNK_ROWS = 16_384
Ids = Sequence[int]


def output_gradient(
    resident: ResidentSource, prompts: Sequence[Ids], target: Ids, layer: int
) -> npt.NDArray[np.float32]:
    """Gradient of the log probability of a target after each prompt, by the residual there.

    Args:
        resident: the model.
        prompts: token ids; target: the ids of which the first is looked at.
        layer: after which the residual of the last prompt token is changed.

    Returns:
        [d_model] float32, mean over the prompts.
    """
    model = resident.language.model
    modules = decoder_layers(model)
    check_layers([layer], len(modules))
    total = torch.zeros(resident.source.spec.d_in)
    held: list[torch.Tensor] = []

    def watch(_module: torch.nn.Module, _args: object, output: object) -> object:
        hidden = output[0] if isinstance(output, tuple) else output
        if not isinstance(hidden, torch.Tensor):
            raise UnsupportedError("A layer gave no tensor where its residual was expected.")
        watched = hidden.detach().requires_grad_()
        held.append(watched)
        return (watched, *output[1:]) if isinstance(output, tuple) else watched

    handle = modules[layer].register_forward_hook(watch)
    try:
        with torch.enable_grad():
            for prompt in prompts:
                held.clear()
                ids = torch.tensor([list(prompt)], device=resident.language.device)
                logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
                logprob = logits.float().log_softmax(-1)[target[0]]
                (gradient,) = torch.autograd.grad(logprob, held[0])
                total += gradient[0, -1].float().cpu()
    finally:
        handle.remove()
    return (total / max(len(prompts), 1)).numpy()


def propose_features(
    resident: ResidentSource, gradient: npt.NDArray[np.float32], n: int
) -> list[int]:
    """Features whose direction, at length 1, goes furthest along a gradient; best first.

    Raises:
        UnsupportedError: if the source has no SAE with a decoder.
    """
    if resident.sae is None or resident.sae.W_dec is None:
        raise UnsupportedError("Features are ranked where an SAE has a decoder.")
    decoder = resident.sae.W_dec
    along = torch.from_numpy(gradient)
    scores = []
    for start in range(0, decoder.shape[0], _CHUNK_ROWS):
        rows = decoder[start : start + _CHUNK_ROWS].float()
        scores.append((rows @ along) / rows.norm(dim=1).clamp_min(1e-9))
    joined = torch.cat(scores)
    best = joined.topk(min(n, len(joined))).indices
    return [int(index) for index in best]


def unit_directions(resident: ResidentSource, features: Sequence[int]) -> npt.NDArray[np.float64]:
    """Decoder rows at length 1, [n, d_model]."""
    if resident.sae is None or resident.sae.W_dec is None:
        raise UnsupportedError("Features have directions where an SAE has a decoder.")
    rows = resident.sae.W_dec[list(features)].double()
    lengths = rows.norm(dim=1, keepdim=True).clamp_min(1e-9)
    return np.asarray((rows / lengths).numpy(), dtype=np.float64)


def sum_weights(
    directions: npt.NDArray[np.float64], weights: Mapping[int, float]
) -> dict[int, float]:
    """Weights scaled so that the weighted sum of unit directions has length 1.

    Args:
        directions: [n, d_model] of length 1 each, in the order of the weights.
        weights: by feature.
    """
    values = np.asarray(list(weights.values()))
    length = float(np.linalg.norm(values @ directions))
    return {feature: weight / length for feature, weight in weights.items()}
