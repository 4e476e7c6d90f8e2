"""Whether a model's chat template takes tools, read from its files without loading anything.

Invariant: a file that is missing or cannot be read offers nothing, and is no error here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

_TEMPLATE_FILE = "chat_template.jinja"
_CONFIG_FILE = "tokenizer_config.json"
_TEKKEN_FILES = "tekken*.json"
_MAX_BYTES = 32 * 2**20
_TOOLS = re.compile(r"\{[%{][^%}]*\btools\b")


def takes_tools(model_dir: Path) -> bool:
    """Whether messages of this model can offer tools, in the words of its own template.

    Args:
        model_dir: folder of the checkpoint, with its tokenizer.
    """
    if any(model_dir.glob(_TEKKEN_FILES)):
        # mistral-common writes chats with tools for every model of this kind
        return True
    return any(_TOOLS.search(template) for template in _templates(model_dir))


def _templates(model_dir: Path) -> list[str]:
    plain = _read(model_dir / _TEMPLATE_FILE)
    if plain:
        return [plain]
    try:
        config = json.loads(_read(model_dir / _CONFIG_FILE) or "{}")
    except (ValueError, RecursionError):
        return []
    found = config.get("chat_template") if isinstance(config, dict) else None
    if isinstance(found, list):
        found = [item.get("template") for item in found if isinstance(item, dict)]
    else:
        found = [found]
    return [template for template in found if isinstance(template, str)]


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
