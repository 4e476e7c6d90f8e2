CREATE INDEX ON activations (feature, max_value DESC);
CREATE INDEX ON activations (run);
VACUUM ANALYZE activations;
