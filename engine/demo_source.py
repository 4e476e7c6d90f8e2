"""The embedded demo as a source of the catalog: its definition, its names, its tool, its examples.

Invariant: it is whole in this package, and its names do not depend on where that is installed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from engine.definitions import Claims, SourceDefinition
from engine.demo import MODEL_DIR, SAE_DIR
from engine.demo.examples import EXAMPLES, LOOKUP_TOOL
from store.specs import ToolSpec


@dataclass(frozen=True, slots=True)
class SourceExample:
    """A prompt worth trying, and what to look for in its answer."""

    title: str
    prompt: str
    tools: bool
    explanation: str


DEMO = SourceDefinition(
    name="demo",
    title="Demo: a toy model of 600 people",
    model=str(MODEL_DIR),
    sae=str(SAE_DIR),
    claims=Claims(license="mit"),
)
DEMO_MODEL_ID = "featurebook/demo-model"
DEMO_SAE_ID = "featurebook/demo-sae"
DEMO_EXAMPLES = tuple(
    SourceExample(item.title, item.prompt, item.tools, item.explanation) for item in EXAMPLES
)


def find_toy_seed(definition: SourceDefinition) -> int | None:
    """Seed of the made-up world that a source's model was trained on; None for any other model.

    The embedded demo, and every folder that `scripts/train_demo.py` has written, has a record of
    its seed beside the model's folder.
    """
    if definition.model is None:
        return None
    record = Path(definition.model).expanduser().parent / "training.json"
    try:
        seed = json.loads(record.read_text(encoding="utf-8"))["seed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return seed if isinstance(seed, int) else None


def demo_tools() -> tuple[ToolSpec, ...]:
    """The tool that the demo offers to its model."""
    function = LOOKUP_TOOL["function"]
    return (
        ToolSpec(
            name=str(function["name"]),
            description=str(function["description"]),
            # in its own order: chat templates write properties in the order they come in
            parameters=json.dumps(function["parameters"]),
        ),
    )
