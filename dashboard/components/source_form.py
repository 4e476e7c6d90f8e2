"""The form that adds a source: a model, an SAE or none, and what their files leave open.

Invariant: returns what was entered once it is sent, else None; it never saves. What was entered
stays in the form until the form is drawn under another key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.components.notice import notice
from engine.api import Dtype, SaeActivation, SaeOverrides, SourceDefinition

_MAX_NAME_CHARS = 80
_MAX_CHARS = 400
_YES_NO = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class SentForm:
    """What was entered.

    Attributes:
        places: where something can be said about a field, by its key in the file of sources.
        place: for what concerns no single field.
    """

    definition: SourceDefinition
    places: dict[str, DeltaGenerator]
    place: DeltaGenerator

    def refuse(self, message: str, hint: str, field: str = "") -> None:
        """Says, below the field if it is one of this form's, why it was not saved."""
        with self.places.get(field, self.place):
            notice("error", message, hint, title="Not saved")


def source_form(key: str) -> SentForm | None:
    """Draws the form.

    Args:
        key: another one starts again from empty fields.
    """
    texts: dict[str, str] = {}
    places: dict[str, DeltaGenerator] = {}

    def text_field(name: str, label: str, placeholder: str, meaning: str | None = None) -> None:
        limit = _MAX_NAME_CHARS if name == "name" else _MAX_CHARS
        value = st.text_input(
            label, max_chars=limit, key=f"{name}-{key}", placeholder=placeholder, help=meaning
        )
        texts[name] = (value or "").strip()
        places[name] = st.container()

    with st.form(f"form-{key}", border=False):
        name, title, precision = st.columns([3, 4, 2], gap="small")
        with name:
            text_field("name", "Name", "my-model", "Lower-case letters, digits, - _ and .")
        with title:
            text_field("title", "Title", "What people read in the list")
        dtype = precision.selectbox(
            "Precision", get_args(Dtype), key=f"dtype-{key}", help="auto is that of the files."
        )
        what, which = st.columns([7, 2], gap="small")
        with what:
            text_field("model", "Model", "org/name, or a folder")
            text_field(
                "sae",
                "SAE",
                "org/name, org/name:folder/inside, a folder, or sae-lens:RELEASE/SAE_ID; "
                "empty for none",
            )
        with which:
            text_field("model_revision", "Model's revision", "main")
            text_field("sae_revision", "SAE's revision", "main")
        st.caption("Only where the SAE's files do not say it")
        hook, function, kept, bias = st.columns([3, 2, 2, 2], gap="small")
        with hook:
            text_field("sae_hook_name", "Hook point", "blocks.30.hook_resid_post")
        with function:
            activation = _choice(
                "Activation", get_args(SaeActivation), f"activation-{key}", places, "sae_activation"
            )
        with kept:
            k = st.number_input(
                "k", min_value=1, value=None, key=f"k-{key}", help="Features a token, with topk."
            )
            places["sae_k"] = st.container()
        with bias:
            bias_key = "sae_apply_b_dec_to_input"
            takes_bias = _choice(
                "Takes off b_dec first", tuple(_YES_NO), f"bias-{key}", places, bias_key
            )
        place = st.container()
        is_sent = st.form_submit_button(
            "Add the source", type="primary", icon=":material/add:", key=f"send-{key}"
        )
    if not is_sent:
        return None
    if not texts["model"]:
        with places["model"]:
            notice(
                "error", "A model is needed.", "Name its repository or folder.", title="Not saved"
            )
        return None
    definition = SourceDefinition(
        name=texts["name"],
        title=texts["title"] or texts["model"],
        model=texts["model"] or None,
        sae=texts["sae"] or None,
        model_revision=texts["model_revision"] or None,
        sae_revision=texts["sae_revision"] or None,
        dtype=next(item for item in get_args(Dtype) if item == dtype),
        overrides=SaeOverrides(
            hook_name=texts["sae_hook_name"] or None,
            activation=next((item for item in get_args(SaeActivation) if item == activation), None),
            k=k,
            apply_b_dec_to_input=_YES_NO.get(takes_bias or ""),
        ),
        origin="user",
    )
    return SentForm(definition, places, place)


def _choice(
    label: str, options: tuple[str, ...], key: str, places: dict[str, DeltaGenerator], field: str
) -> str | None:
    value: str | None = st.selectbox(
        label, options, index=None, key=key, placeholder="as the files say"
    )
    places[field] = st.container()
    return value
