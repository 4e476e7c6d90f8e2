-- One row a feature and run with the list of its values, found by feature and strength.
CREATE TABLE activations (
    feature integer NOT NULL,
    run integer NOT NULL,
    max_value real NOT NULL,
    positions smallint[] NOT NULL,
    "values" real[] NOT NULL
);
