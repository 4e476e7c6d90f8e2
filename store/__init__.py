"""The DuckDB store of runs, tokens and feature activations. Knows nothing of models or pages."""
