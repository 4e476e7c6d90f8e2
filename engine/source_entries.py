"""A source as an entry of a TOML file: `[sources.NAME]` and its keys, both ways.

Invariant: an entry that parses is a definition of which every value has the right form; one that
does not is refused with the key that is wrong. Nothing is looked up on disk or on the hub here.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engine.definitions import (
    Claims,
    Dtype,
    Origin,
    SaeActivation,
    SaeOverrides,
    SourceDefinition,
)
from engine.errors import RequestError, UnsupportedError
from engine.hook_names import parse_hook_name

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_REVISION = re.compile(r"[\w./-]{1,200}")
_PATH_BEGINNINGS = ("/", ".", "~")
REGISTRY_PREFIX = "sae-lens:"

_Count = Annotated[int, Field(ge=1)]


class InvalidSourceError(RequestError):
    """A source is not written down as it must be."""

    def __init__(self, name: str, key: str, reason: str, hint: str = "") -> None:
        super().__init__(f"The source {name[:80]!r} cannot be used: {reason}.", hint)
        self.name = name
        self.key = key


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _ClaimsEntry(_Strict):
    n_layers: _Count | None = None
    d_model: _Count | None = None
    d_sae: _Count | None = None
    kv_width: _Count | None = None
    n_context: _Count | None = None
    hook_name: str | None = None
    model_bytes: _Count | None = None
    sae_bytes: _Count | None = None
    is_gated: bool = False
    license: str = ""


class _SourceEntry(_Strict):
    title: str = Field(default="", max_length=200)
    model: str
    model_revision: str | None = None
    sae: str | None = None
    sae_revision: str | None = None
    dtype: Dtype = "auto"
    hook_name: str | None = None
    activation: SaeActivation | None = None
    k: _Count | None = None
    apply_b_dec_to_input: bool | None = None
    claims: _ClaimsEntry = _ClaimsEntry()

    @field_validator("model", "sae")
    @classmethod
    def _is_a_place(cls, place: str | None, info: object) -> str | None:
        key = getattr(info, "field_name", "")
        if place is not None:
            _check_place(place, may_be_inside=key == "sae")
        return place

    @field_validator("model_revision", "sae_revision")
    @classmethod
    def _is_a_revision(cls, revision: str | None) -> str | None:
        if revision is not None and not _REVISION.fullmatch(revision):
            raise ValueError("a branch, tag or commit is needed, without blanks")
        return revision

    @field_validator("hook_name")
    @classmethod
    def _is_a_hook(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                parse_hook_name(name)
            except UnsupportedError as error:
                raise ValueError(f"{name[:60]!r} is no hook point that can be read") from error
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> _SourceEntry:
        if self.k is not None and self.activation not in (None, "topk"):
            raise ValueError("k belongs to the activation topk alone")
        of_sae = (self.sae_revision, self.hook_name, self.activation, self.k)
        if self.sae is None and any(of_sae):
            raise ValueError("it says how an SAE encodes, but names no sae")
        if self.sae_revision and (self.sae or "").startswith(REGISTRY_PREFIX):
            raise ValueError("an entry of sae-lens's registry has no sae_revision of its own")
        return self


def _check_place(place: str, may_be_inside: bool) -> None:
    """Refuses what is neither a path nor the name of a repository."""
    if not place.strip() or any(
        ord(letter) < 32 or "\ud800" <= letter <= "\udfff" for letter in place
    ):
        raise ValueError("a repository (org/name) or a folder is needed")
    if place.startswith(_PATH_BEGINNINGS) or re.match(r"[A-Za-z]:[\\/]", place):
        return
    if may_be_inside and place.startswith(REGISTRY_PREFIX):
        release, _, sae_id = place.removeprefix(REGISTRY_PREFIX).partition("/")
        if not release or not sae_id:
            raise ValueError("an entry of the registry is written sae-lens:RELEASE/SAE_ID")
        return
    repository, separator, inside = place.partition(":")
    if separator and not may_be_inside:
        raise ValueError("a model is a whole repository, org/name")
    if not _REPOSITORY.fullmatch(repository) or ".." in inside.split("/"):
        raise ValueError(
            f"{place[:80]!r} is neither org/name nor a path (paths begin with /, ./ or ~)"
        )


def parse_entry(name: str, content: object, origin: Origin) -> SourceDefinition:
    """Makes a definition of the content of one `[sources.NAME]`.

    Raises:
        InvalidSourceError: naming the first key that is missing, unknown or wrong.
    """
    if not _NAME.fullmatch(name):
        raise InvalidSourceError(
            name,
            "name",
            "its name must have 1 to 64 lower-case letters, digits, '-', '_' or '.'",
            "Choose another name, such as my-model.",
        )
    try:
        entry = _SourceEntry.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
        raise InvalidSourceError(
            name,
            key,
            f"{key}: {reason}" if key else reason,
            "A source has the keys model, sae, dtype, model_revision, sae_revision, hook_name, "
            "activation, k, apply_b_dec_to_input and title; only model is needed.",
        ) from error
    return SourceDefinition(
        name=name,
        title=entry.title.strip() or name,
        model=entry.model,
        sae=entry.sae,
        model_revision=entry.model_revision,
        sae_revision=entry.sae_revision,
        dtype=entry.dtype,
        overrides=SaeOverrides(
            hook_name=entry.hook_name,
            activation=entry.activation,
            k=entry.k,
            apply_b_dec_to_input=entry.apply_b_dec_to_input,
        ),
        claims=Claims(**entry.claims.model_dump()),
        origin=origin,
    )


def parse_entries(text: str, origin: Origin) -> dict[str, SourceDefinition]:
    """The definitions of a whole file, by name, in its order.

    Raises:
        InvalidSourceError: for a source that is wrong.
        ValueError: if the text is no TOML, or has anything but `[sources.NAME]` in it.
    """
    return {name: parse_entry(name, entry, origin) for name, entry in read_tables(text).items()}


def read_tables(text: str) -> dict[str, object]:
    """The content of each `[sources.NAME]` of a file, unchecked.

    Raises:
        ValueError: if the text is no TOML, or has anything but `[sources.NAME]` in it.
    """
    content = tomllib.loads(text)
    sources = content.pop("sources", {})
    if content or not isinstance(sources, dict):
        raise ValueError(
            f"only [sources.NAME] may stand in it, not {next(iter(content), 'this')!r}"
        )
    return sources


def to_toml(definition: SourceDefinition) -> str:
    """The entry that parses to this definition; claims, which only the catalog makes, left out."""
    values: dict[str, object] = {
        "title": definition.title,
        "model": definition.model,
        "model_revision": definition.model_revision,
        "sae": definition.sae,
        "sae_revision": definition.sae_revision,
        "dtype": None if definition.dtype == "auto" else definition.dtype,
        "hook_name": definition.overrides.hook_name,
        "activation": definition.overrides.activation,
        "k": definition.overrides.k,
        "apply_b_dec_to_input": definition.overrides.apply_b_dec_to_input,
    }
    lines = [f"{key} = {_to_value(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[sources.{_to_value(definition.name)}]", *lines, ""])


def _to_value(value: object) -> str:
    # JSON's texts, numbers and truth values are TOML's too; DEL alone must be escaped besides
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
