"""Evaluations and models as JSON text, and back.

Invariant: what is read back equals what was written; text that is no such thing is an error of the
store, never half an evaluation.
"""

from __future__ import annotations

from functools import cache

from pydantic import TypeAdapter, ValidationError

from engine.detection.models import DetectorModel, LinearModel
from engine.detection.reports import Evaluation
from engine.errors import EngineError
from store.keys import canonical_json

_BROKEN = EngineError(
    "What is stored of this detector cannot be read.", "Train it again from its question set."
)


@cache
def _evaluations() -> TypeAdapter[Evaluation]:
    return TypeAdapter(Evaluation)


@cache
def _models() -> TypeAdapter[DetectorModel]:
    return TypeAdapter(DetectorModel)


def encode(content: Evaluation | DetectorModel) -> str:
    """JSON text of an evaluation or a model."""
    adapter = _evaluations() if isinstance(content, Evaluation) else _models()
    return adapter.dump_json(content).decode()  # type: ignore[arg-type]


def decode_evaluation(text: str) -> Evaluation:
    """An evaluation from its JSON.

    Raises:
        EngineError: if it is none.
    """
    try:
        return _evaluations().validate_json(text)
    except ValidationError as error:
        raise _BROKEN from error


def decode_model(text: str) -> DetectorModel:
    """A model from its JSON.

    Raises:
        EngineError: if it is none.
    """
    try:
        return _models().validate_json(text)
    except ValidationError as error:
        raise _BROKEN from error


def features_json(linear: LinearModel | None) -> str:
    """Features and weights of a model, the heaviest first, for SQL."""
    if linear is None or not linear.features:
        return "[]"
    pairs = sorted(
        zip(linear.features, linear.weights, strict=True), key=lambda pair: -abs(pair[1])
    )
    return canonical_json([{"feature": feature, "weight": weight} for feature, weight in pairs])
