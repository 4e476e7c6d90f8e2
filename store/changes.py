"""What was stored after a moment: what a link that carries its time says about what is new.

Invariant: counts only; nothing is kept for it, so that a link costs nothing until it is opened.
"""

from __future__ import annotations

from datetime import datetime

from store.connection import Store
from store.records import Changes
from store.rows import to_utc
from store.sources import get_source

_COUNTS = """
    SELECT (SELECT count(*) FROM base.runs WHERE created_at > $1 {source} {no_run}),
           (SELECT count(*) FROM base.labels WHERE created_at > $1 {source} {feature}),
           (SELECT count(*) FROM outcomes AS o JOIN runs AS r USING (run_key)
            WHERE o.created_at > $1 {source_id} {run})
"""


def count_changes(
    store: Store,
    moment: datetime,
    source: str | None = None,
    feature: int | None = None,
    run_key: str | None = None,
) -> Changes:
    """Counts runs, labels and outcomes that were stored after a moment.

    Args:
        source: id or name of the only source that counts.
        feature: the only feature of it whose labels count.
        run_key: the only run whose outcomes count; other runs are nothing new beside it.

    Raises:
        SourceNotFoundError: if nothing of this source is stored.
    """
    with store.read() as cursor:
        values: list[object] = [to_utc(moment)]
        of_source = of_feature = of_source_id = of_run = no_run = ""
        if source is not None:
            found = get_source(cursor, source)
            values += [found.source_no, found.source_id]
            of_source, of_source_id = "AND source_no = $2", "AND r.source_id = $3"
            if feature is not None:
                values.append(feature)
                of_feature = "AND feature = $4"
        if run_key is not None:
            values.append(run_key)
            of_run, no_run = f"AND o.run_key = ${len(values)}", "AND false"
        sql = _COUNTS.format(
            source=of_source, feature=of_feature, source_id=of_source_id, run=of_run, no_run=no_run
        )
        row = cursor.execute(sql, values).fetchone()
    return Changes(*(row or (0, 0, 0)))
