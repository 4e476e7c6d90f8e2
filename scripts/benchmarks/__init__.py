"""The measurements behind scripts/bench.py, one file a question. Each compares sides in one run."""
