"""The registry of a toy world as a tool.

Invariant: it answers from the world alone; what it does not list has the answer `no record`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.demo.language import FAILED
from engine.demo.world import World, make_world
from engine.demo_source import demo_tools
from engine.tools.running import CallPlace, Tool, Toolbox


def lookup_box(world_seed: int) -> Toolbox:
    """The tools of the toy world of a seed."""
    world = make_world(world_seed)
    [spec] = demo_tools()
    return Toolbox((Tool(spec, _in(world)),), lambda _reason: FAILED)


def _in(world: World) -> Any:
    def lookup(arguments: Mapping[str, Any], _place: CallPlace) -> str:
        return world.registry(arguments["person"], arguments["attribute"])

    return lookup
