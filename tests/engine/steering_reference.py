"""Steering done slowly and plainly: the whole sequence again for every token, one token at a time.

Nothing here is the engine's: the SAE is four lines of torch, positions are asked one by one, and no
cache is used, so that what agrees with it is right for more than one reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from engine.hooks import decoder_layers
from store.specs import Condition, Intervention


@dataclass(frozen=True)
class PlainSae:
    """Weights under SAELens's names, and how they are used."""

    weights: Mapping[str, torch.Tensor]
    layer: int
    k: int | None = None
    normalisation: str = "none"

    def scale(self, row: torch.Tensor) -> float:
        if self.normalisation == "layer_norm":
            return float(row.std())
        if self.normalisation == "constant_norm_rescale":
            return float(row.norm()) / float(row.shape[0] ** 0.5)
        return 1.0

    def encode(self, row: torch.Tensor) -> torch.Tensor:
        """All activations of one residual row."""
        w = self.weights
        if self.normalisation == "layer_norm":
            row = (row - row.mean()) / (row.std() + 1e-5)
        elif self.normalisation != "none":
            row = row / self.scale(row)
        pre = (row - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
        if self.k is not None:
            least = pre.topk(self.k).values[-1]
            return torch.where(pre >= least, pre, 0.0).relu()
        if "threshold" in w:
            return torch.where(pre > w["threshold"], pre, 0.0).relu()
        return pre.relu()


@dataclass
class PlainSteering:
    """Interventions on one model, and what of a sequence is left alone."""

    model: PreTrainedModel
    sae: PlainSae
    vectors: Mapping[str, torch.Tensor]
    interventions: tuple[Intervention, ...]
    n_prompt: int
    n_left_alone: int
    gates: dict[int, bool] = field(default_factory=dict)

    def hidden(self, ids: list[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits [n, vocab], and the steered output of every layer, each [n, d]."""
        seen: list[torch.Tensor] = []
        handles = []
        layers = decoder_layers(self.model)
        handles.append(layers[0].register_forward_pre_hook(self._before(), with_kwargs=True))
        for number, layer in enumerate(layers):
            handles.append(layer.register_forward_hook(self._after(number, seen)))
        try:
            with torch.inference_mode():
                logits = self.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        finally:
            for handle in handles:
                handle.remove()
        return logits.float(), seen

    def generate(self, prompt: tuple[int, ...], n_new: int) -> list[int]:
        """Ids after greedy steps, each of which computes the whole sequence again."""
        ids = list(prompt)
        for _ in range(n_new):
            ids.append(int(self.hidden(ids)[0][-1].argmax()))
        return ids

    def _before(self) -> Callable[..., Any]:
        def hook(_module: Any, args: Any, kwargs: Any) -> Any:
            if args:
                return (self._steer(-1, args[0]), *args[1:]), kwargs
            return args, kwargs | {"hidden_states": self._steer(-1, kwargs["hidden_states"])}

        return hook

    def _after(self, layer: int, seen: list[torch.Tensor]) -> Callable[..., Any]:
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            steered = self._steer(layer, hidden)
            seen.append(steered[0])
            return (steered, *output[1:]) if isinstance(output, tuple) else steered

        return hook

    def _steer(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        rows = hidden[0]
        for number, item in enumerate(self.interventions):
            gate = item.condition
            if gate is None or self._read_layer(gate) != layer:
                continue
            if gate.at == "last_prompt":
                self.gates[number] = self._holds(gate, rows[self.n_prompt - 1])
            else:
                for position in range(len(rows)):
                    self.gates[(number + 1) * 100_000 + position] = self._holds(
                        gate, rows[position]
                    )
        steered = rows.clone()
        for position in range(self.n_left_alone, len(rows)):
            for number, item in enumerate(self.interventions):
                if self._layer(item) != layer or not self._is_at(item, position):
                    continue
                if item.condition is not None:
                    here = item.condition.at == "here"
                    key = (number + 1) * 100_000 + position if here else number
                    if not self.gates[key]:
                        continue
                steered[position] += self._delta(item, rows[position])
        return steered[None]

    def _delta(self, item: Intervention, row: torch.Tensor) -> torch.Tensor:
        strength = item.raw_strength or 0.0
        scale = 1.0
        if item.vector_id is not None:
            direction = self.vectors[item.vector_id]
        else:
            direction = self.sae.weights["W_dec"][item.feature]
            scale = self.sae.scale(row)
        if item.kind == "erase":
            unit: torch.Tensor = direction / direction.norm()
            return -unit * float(unit @ row)
        amount = strength
        if item.kind != "add":
            activation = float(self.sae.encode(row)[item.feature])
            amount = strength * activation if item.kind == "scale" else strength
            amount -= activation
        return amount * scale * direction

    def _holds(self, gate: Condition, row: torch.Tensor) -> bool:
        if gate.vector_id is not None:
            vector = self.vectors[gate.vector_id]
            score = float(vector @ row)
            if gate.measure == "cosine":
                score /= float(vector.norm() * row.norm())
        else:
            activations = self.sae.encode(row)
            pairs = zip(gate.features, gate.weights, strict=True)
            score = sum(weight * float(activations[feature]) for feature, weight in pairs)
        score += gate.bias
        return score > gate.threshold if gate.side == "above" else score < gate.threshold

    def _layer(self, item: Intervention) -> int:
        return self.sae.layer if item.layer is None else item.layer

    def _read_layer(self, gate: Condition) -> int:
        return self.sae.layer if gate.layer is None else gate.layer

    def _is_at(self, item: Intervention, position: int) -> bool:
        if item.positions == "all":
            return True
        if item.positions == "generated":
            return position >= self.n_prompt
        if item.positions == "last_prompt":
            return position == self.n_prompt - 1
        if item.positions == "answering":
            return position >= self.n_prompt - 1
        start, _, end = item.positions.partition(":")
        return int(start) <= position < (int(end) if end else 1_000_000)
