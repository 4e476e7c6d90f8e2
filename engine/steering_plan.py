"""From resolved interventions to operators: directions and encoder columns gathered once.

Invariant: what is made ready is only what the interventions use; the decoder of the SAE stays in
its file but for the rows of steered features.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from engine.errors import RequestError, SourceMismatchError
from engine.hook_names import HookPoint, layer_of
from engine.sae import Sae
from engine.sae_config import SaeConfig
from engine.sae_features import (
    FeatureReader,
    gather_directions,
    gather_reader,
    no_features,
    rounding_of,
)
from engine.steering_operators import LayerOperators, Operator, ReadyCondition, ReadySteering
from store.interventions import Condition, Intervention, SteeringSpec

_READING = ("clamp", "ablate", "scale")
Vectors = Mapping[str, npt.NDArray[np.float32]]


def make_ready(
    sae: Sae | None, hook: HookPoint | None, steering: SteeringSpec, vectors: Vectors
) -> ReadySteering:
    """Operators for interventions that were resolved for the source of this SAE.

    Args:
        sae, hook: of the source; None, both, for a model without an SAE.
        steering: resolved: every strength is raw, every vector's layer is said.
        vectors: values, float32 [d_model], of every vector that it names.

    Raises:
        RequestError: if a vector is missing, or a feature is named where there is no SAE.
        UnsupportedError: if the SAE has no decoder.
        SourceMismatchError: if a vector is of another width.
    """
    return _Planner(sae, hook, steering, vectors).plan()


class _Columns:
    """Features that are read together, each once, and the column that each comes in."""

    def __init__(self, features: Iterable[int]) -> None:
        self.features = tuple(dict.fromkeys(features))
        self._places = {feature: index for index, feature in enumerate(self.features)}

    def place(self, feature: int) -> int:
        return self._places[feature]


class _Planner:
    def __init__(
        self, sae: Sae | None, hook: HookPoint | None, steering: SteeringSpec, vectors: Vectors
    ) -> None:
        self._sae = sae
        self._home = None if hook is None else layer_of(hook)
        self._steering = steering
        self._vectors = vectors
        items = list(enumerate(steering.interventions))
        conditions = [(number, item.condition) for number, item in items if item.condition]
        # what is needed on every token, and what on the last token of the prompt alone
        self._read = _Columns(
            [
                item.feature
                for _, item in items
                if item.kind in _READING and item.feature is not None
            ]
            + [f for _, one in conditions if one.at == "here" for f in one.features]
        )
        self._gated = _Columns(
            [f for _, one in conditions if one.at == "last_prompt" for f in one.features]
        )
        measured = {n: item.feature for n, item in items if self._is_at_home(item)}
        self._measured = _Columns([f for f in measured.values() if f is not None])
        self._measured_columns = {
            n: self._measured.place(f) for n, f in measured.items() if f is not None
        }

    def plan(self) -> ReadySteering:
        operators = [self._operator(n, item) for n, item in enumerate(self._steering.interventions)]
        conditions = {item.number: item.condition for item in operators if item.condition}
        numbers = {item.layer for item in operators} | {one.layer for one in conditions.values()}
        return ReadySteering(
            spec=self._steering,
            layers=tuple(self._at(layer, operators, conditions) for layer in sorted(numbers)),
            measured=self._reader(self._measured),
            measured_columns=self._measured_columns,
            report_layers=tuple(item.layer for item in operators),
            report_units=tuple(_unit(item.direction) for item in operators),
            report_lengths=tuple(float(item.direction.double().norm()) for item in operators),
        )

    def _at(
        self, layer: int, operators: list[Operator], conditions: dict[int, ReadyCondition]
    ) -> LayerOperators:
        here = {number: one for number, one in conditions.items() if one.layer == layer}
        is_home = layer == self._home
        return LayerOperators(
            layer=layer,
            operators=tuple(item for item in operators if item.layer == layer),
            gates={n: one for n, one in here.items() if one.condition.at == "last_prompt"},
            tests={n: one for n, one in here.items() if one.condition.at == "here"},
            reader=self._reader(self._read) if is_home else None,
            gate_reader=self._reader(self._gated) if is_home else None,
        )

    def _reader(self, columns: _Columns) -> FeatureReader | None:
        if not columns.features:
            return None
        return gather_reader(self._need_sae(), columns.features)

    def _operator(self, number: int, item: Intervention) -> Operator:
        scaled_by: SaeConfig | None = None
        if item.feature is None:
            layer = self._stated_layer(item.layer)
            direction = self._vector(item.vector_id)
        else:
            sae = self._need_sae()
            layer = self._need_home() if item.layer is None else item.layer
            direction = gather_directions(sae, [item.feature])[0]
            scaled_by = None if sae.config.normalisation == "none" else sae.config
        if item.kind == "erase":
            direction, scaled_by = _unit(direction), None
        is_reading = item.kind in _READING
        condition = None if item.condition is None else self._condition(item.condition, layer)
        operator = Operator(
            number=number,
            intervention=item,
            layer=layer,
            direction=direction,
            pushed=None,
            column=self._read.place(item.feature)
            if is_reading and item.feature is not None
            else None,
            rounding=0.0 if self._sae is None else rounding_of(self._sae),
            scaled_by=scaled_by,
            condition=condition,
        )
        if item.kind != "add":
            return operator
        return replace(operator, pushed=operator.raw_strength * direction)

    def _condition(self, condition: Condition, latest: int) -> ReadyCondition:
        if condition.vector_id is not None:
            layer = self._stated_layer(condition.layer)
            columns, weights = None, self._vector(condition.vector_id)
        else:
            layer = self._need_home()
            among = self._gated if condition.at == "last_prompt" else self._read
            self._need_sae()
            columns = torch.tensor([among.place(feature) for feature in condition.features])
            weights = torch.tensor(condition.weights, dtype=torch.float32)
        if layer > latest:
            raise RequestError(
                f"A condition after layer {layer} cannot decide what happens after layer {latest}.",
                "Read the condition at the same layer or an earlier one.",
            )
        return ReadyCondition(condition, layer, columns, weights)

    def _is_at_home(self, item: Intervention) -> bool:
        if item.feature is None or item.kind == "erase":
            return False
        return item.layer is None or item.layer == self._home

    def _vector(self, vector_id: str | None) -> torch.Tensor:
        values = None if vector_id is None else self._vectors.get(vector_id)
        if values is None:
            raise RequestError(
                f"The vector {vector_id} is not stored here.", "Make it or import it again."
            )
        vector = torch.tensor(np.asarray(values, np.float32))
        if self._sae is not None and vector.shape != (self._sae.config.d_in,):
            raise SourceMismatchError(
                f"The vector {vector_id} is {vector.shape[0]} wide, the model "
                f"{self._sae.config.d_in}.",
                "Use a vector that was made with this model.",
            )
        return vector

    def _stated_layer(self, layer: int | None) -> int:
        if layer is None:
            raise ValueError("a vector's layer must be resolved before it is run")
        return layer

    def _need_sae(self) -> Sae:
        if self._sae is None:
            raise no_features()
        return self._sae

    def _need_home(self) -> int:
        if self._home is None:
            raise no_features()
        return self._home


def _unit(direction: torch.Tensor) -> torch.Tensor:
    """The direction at length 1; a zero one stays zero."""
    length = direction.double().norm()
    return (direction.double() / length).float() if length > 0 else direction
