SELECT run, max_value, positions, "values" FROM activations
WHERE feature = :feature ORDER BY max_value DESC LIMIT :n;
