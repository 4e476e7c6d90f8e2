"""Files of vectors: safetensors with JSON and GGUF control vectors, out and in.

Invariant: a file is made when its button is pressed; what is uploaded comes back unread.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from engine.api import ExportedFile

FileForm = Literal["safetensors", "gguf"]


@dataclass(frozen=True, slots=True)
class AskedImport:
    """An uploaded file, and the JSON beside it if there is one."""

    data: bytes
    file_name: str
    metadata: bytes | None
    name: str


def export_buttons(
    make: Callable[[FileForm], Sequence[ExportedFile]], name: str, has_gguf: bool
) -> None:
    """Draws the buttons.

    Args:
        make: the files of a form; called when a button is pressed.
        name: of the concept.
        has_gguf: whether anything of it can be written as GGUF.
    """
    stem = "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in name)[:60]

    def archive() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as packed:
            for file in make("safetensors"):
                packed.writestr(file.name, file.data)
        return buffer.getvalue()

    st.download_button(
        "safetensors + JSON",
        archive,
        file_name=f"{stem}.zip",
        mime="application/zip",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        key=f"export_safetensors-{name}",
    )
    st.download_button(
        "GGUF",
        lambda: make("gguf")[0].data,
        file_name=f"{stem}.gguf",
        mime="application/octet-stream",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
        disabled=not has_gguf,
        key=f"export_gguf-{name}",
        help="A control vector as llama.cpp reads it. The first layer cannot be written in it.",
    )


def import_form() -> AskedImport | None:
    """Draws the form; None until it is sent with a file."""
    with st.form("import", border=False):
        file = st.file_uploader(
            "Vectors: safetensors or GGUF", type=["safetensors", "gguf"], key="import_file"
        )
        beside = st.file_uploader("The JSON beside it, if any", type=["json"], key="import_json")
        name = st.text_input(
            "Concept", max_chars=80, key="import_name", placeholder="as the file says"
        )
        is_sent = st.form_submit_button("Import", type="primary", key="import_send")
    if not is_sent:
        return None
    if file is None:
        st.text("Choose a file first.")
        return None
    metadata = beside.getvalue() if beside is not None else None
    return AskedImport(file.getvalue(), file.name, metadata, (name or "").strip())
