"""What is offered to a model: names, descriptions and schemas of the introspection tools.

Invariant: a schema uses only keywords that arguments are checked by, and descriptions promise only
what the tools do; part of the run key, so a change here changes the keys of runs with tools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from store.specs import ToolSpec

_FEATURE = {"type": "integer", "description": "Number of a feature of your sparse autoencoder."}


def introspection_tools() -> tuple[ToolSpec, ...]:
    """Tools that look into the model's own features, as far as the store has seen them."""
    return (
        _tool(
            "search_features",
            "Find features of your own sparse autoencoder by what they mean or which words they "
            "fire on.",
            {
                "query": {"type": "string", "description": "A word or a few words."},
                "limit": {"type": "integer", "description": "Most results, 1 to 20."},
            },
            ["query"],
        ),
        _tool(
            "inspect_feature",
            "Look at one feature: its label, how often and how strongly it fires, and where.",
            {"feature": _FEATURE},
            ["feature"],
        ),
        _tool(
            "check_activations",
            "See which features are active in this conversation up to your call, or how active "
            "the given ones are.",
            {
                "features": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "description": "Numbers of features; leave it out for the strongest ones.",
                }
            },
            [],
        ),
        _tool(
            "steer_feature",
            "Strengthen or weaken a feature while you generate what follows.",
            {
                "feature": _FEATURE,
                "strength": {
                    "type": "number",
                    "description": "Times the largest activation ever seen of it, -4 to 4.",
                },
            },
            ["feature", "strength"],
        ),
        _tool(
            "compare_features",
            "Compare two features: how often each fires, and how often both on the same token.",
            {"first": _FEATURE, "second": _FEATURE},
            ["first", "second"],
        ),
    )


def _tool(
    name: str, description: str, properties: Mapping[str, object], required: list[str]
) -> ToolSpec:
    schema = {"type": "object", "properties": properties, "required": required}
    return ToolSpec(name, description, json.dumps(schema))
