"""Residuals at single positions, computed again with the loaded model.

Invariant: one forward pass a run, without a cache, on the tokens that are stored; the model carries
no hook of ours afterwards. It imports torch: only where a source is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from engine.errors import SourceMismatchError
from engine.hooks import record
from engine.resident import ResidentSource
from store.captures import Capture


@dataclass(frozen=True, slots=True)
class Wanted:
    """Positions of a stored run, rising, and the ids of all its tokens."""

    run_key: str
    token_ids: tuple[int, ...]
    positions: tuple[int, ...]


@torch.inference_mode()
def capture(resident: ResidentSource, wanted: Sequence[Wanted]) -> tuple[Capture, ...]:
    """Residuals and margins at the positions of some runs.

    Raises:
        SourceMismatchError: if the source has no hook point.
    """
    hook = resident.source.hook
    if hook is None:
        raise SourceMismatchError(
            "This source has no SAE, and so no hook point to read.", "Use a source with an SAE."
        )
    model = resident.language.model
    device = next(model.parameters()).device
    captures = []
    for run in wanted:
        ids = torch.tensor([run.token_ids], device=device)
        drawn_from = [position - 1 for position in run.positions if position > 0]
        with record(model, hook) as recording:
            output = model(
                input_ids=ids,
                use_cache=False,
                logits_to_keep=torch.tensor(drawn_from, device=device),
            )
        rows = recording.rows()[list(run.positions)].float().cpu().numpy()
        two = output.logits[0].float().topk(2, dim=-1).values
        margins = iter((two[:, 0] - two[:, 1]).tolist())
        for position, row in zip(run.positions, rows, strict=True):
            margin = next(margins) if position > 0 else None
            captures.append(Capture(run.run_key, position, row.astype(np.float32), margin))
    return tuple(captures)
