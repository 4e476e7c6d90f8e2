"""What is loaded now: the source, its device, the memory that it takes, how long loading took.

Invariant: draws one EngineStatus and reports which button was pressed; nothing is fetched here.
"""

from __future__ import annotations

import streamlit as st

from dashboard.components.memory_bar import MemoryPart, memory_bar
from dashboard.components.notice import notice
from dashboard.components.run_badge import duration
from dashboard.weights_view import format_bytes
from engine.api import DeviceMemory, EngineStatus


def resident_panel(engine: EngineStatus, key: str) -> bool:
    """Draws the panel; True if its unload button was pressed."""
    is_unloaded = False
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if engine.state == "loading" and engine.source is None:
                st.badge("freeing", color="orange", icon=":material/hourglass_top:")
                st.text("What was loaded is being freed.")
            elif engine.state == "loading":
                st.badge("loading", color="orange", icon=":material/hourglass_top:")
                st.text(f"{engine.source}: its weights are read; questions wait")
            elif engine.source is None:
                st.badge("nothing is loaded", color="gray", icon=":material/memory:")
                st.text("Load a source below, or ask: the first question loads its source.")
            else:
                st.badge("loaded", color="green", icon=":material/memory:")
                st.text(_resident_line(engine))
                is_unloaded = st.button(
                    "Unload",
                    icon=":material/eject:",
                    key=f"unload-{key}",
                    help="Frees the memory once the running question has ended.",
                )
        if engine.memory is not None and engine.state != "loading":
            _draw_memory(engine.memory, key)
        if engine.failure is not None:
            notice(
                "error", engine.failure.message, engine.failure.hint, title="The last load failed"
            )
    return is_unloaded


def _resident_line(engine: EngineStatus) -> str:
    parts = [engine.source or "", f"on {engine.device}" if engine.device else ""]
    if engine.loaded_s is not None:
        parts.append(f"loaded in {duration(engine.loaded_s)}")
    if engine.state == "busy":
        parts.append("answering now")
    return " · ".join(part for part in parts if part)


def _draw_memory(memory: DeviceMemory, key: str) -> None:
    parts = [MemoryPart("used", "this source", memory.used_bytes)]
    total, available = memory.total_bytes, memory.available_bytes
    if total is not None and available is not None:
        others = total - available - memory.used_bytes
        if others > 0:
            parts.append(MemoryPart("other", "other programs", others))
    if available is None:
        rest = f"on {memory.device}"
    elif total is None:
        rest = f"{format_bytes(available)} available on {memory.device}"
    else:
        rest = f"{format_bytes(available)} of {format_bytes(total)} available on {memory.device}"
    memory_bar(parts, total, rest, key=f"memory-{key}")
