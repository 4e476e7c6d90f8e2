"""What was computed of features and takes long, kept beside the notes of the weights' cache.

Invariant: what is noted here only saves time. A note that is broken or cannot be written is as good
as none, and never an error; it is replaced as a whole, so that processes may share the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

_FOLDER = "features"
_VERSION = 1


class FeatureNotes:
    """JSON notes of one installation, by kind, source and name.

    Args:
        records: folder of the notes of the project's cache.
    """

    def __init__(self, records: Path) -> None:
        self._folder = records / _FOLDER

    def find(self, kind: str, source_id: str, name: str) -> Any | None:
        """What was noted, or None."""
        try:
            content = json.loads(self._path(kind, source_id, name).read_text(encoding="utf-8"))
            return content["note"] if content["version"] == _VERSION else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, kind: str, source_id: str, name: str, note: object) -> None:
        """Notes plain values; nothing happens if that is not possible."""
        path = self._path(kind, source_id, name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            number, draft = tempfile.mkstemp(dir=path.parent, prefix=".note-")
            try:
                with os.fdopen(number, "w", encoding="utf-8") as file:
                    json.dump({"version": _VERSION, "note": note}, file)
                os.replace(draft, path)
            except OSError:
                Path(draft).unlink(missing_ok=True)

    def _path(self, kind: str, source_id: str, name: str) -> Path:
        # ids of sources are names that people chose: a digest leads nowhere but here
        digest = hashlib.sha256(source_id.encode()).hexdigest()[:24]
        return self._folder / digest / f"{kind}-{name}.json"
