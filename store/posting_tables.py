"""Where postings lie: what was merged, and what was not yet.

Invariant: a posting is in exactly one of the two tables.
"""

POSTING_TABLES = ("postings", "fresh_postings")
"""What was merged, and what was not yet."""

POSTINGS = "(FROM base.postings UNION ALL FROM base.fresh_postings)"
"""All of them, in SQL."""
