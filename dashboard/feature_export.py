"""What a feature's page shows, as CSV or JSON. Pure.

Invariant: names are those of the public views; texts are written as they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from store.feature_records import Label
from store.records import Context, FeatureStats, HistogramBin

_COLUMNS = ("feature", "run_key", "position", "value", "before", "text", "after")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(feature: int, contexts: Sequence[Context]) -> str:
    """One row a context; a text that a spreadsheet would take for a formula gets a quote before."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for item in contexts:
        texts = [_plain(text) for text in (item.before, item.text, item.after)]
        writer.writerow([feature, item.run_key, item.position, f"{item.value:.9g}", *texts])
    return file.getvalue()


def to_json(
    source: str,
    stats: FeatureStats,
    histogram: Sequence[HistogramBin],
    labels: Sequence[Label],
    contexts: Sequence[Context],
) -> str:
    """Everything of the page that comes from the store."""
    content = {
        "source": source,
        **asdict(stats),
        "histogram": [asdict(item) for item in histogram],
        "labels": [asdict(item) for item in labels],
        "contexts": [asdict(item) for item in contexts],
    }
    return json.dumps(content, ensure_ascii=False, indent=1, default=str)


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
