-- Activations twice: by run, and by feature in segments that are merged in the background.
-- A file of version 1 is not changed in place but written anew (see migrations.py), because only a
-- new file can have the smaller blocks in which these narrow columns waste no space.

-- A value is the 32 bits of its float32: `code` the upper 16, `rest` the lower. Positive floats
-- order as these integers do. `rest` is zero, and takes no space, for sources computed in bfloat16.
CREATE MACRO base.decode(code, rest) AS (
    (
        (code >= 128)::INTEGER
        + ((code & 127)::INTEGER * 65536 + rest::INTEGER) / 8388608::DOUBLE
    ) * pow(2::DOUBLE, greatest((code >> 7)::INTEGER, 1) - 127)
)::FLOAT;

DROP TABLE base.activations;

-- In the order of run, feature and position: within a run, neighbours differ little in feature.
CREATE TABLE base.activations (
    run_no INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    position INTEGER NOT NULL,
    code USMALLINT NOT NULL,
    rest USMALLINT NOT NULL
);

CREATE SEQUENCE base.segment_numbers;

-- A segment holds the activations of some runs of one source, and is never changed: merging writes
-- a new one and deletes those that it is made of, in one transaction.
CREATE TABLE base.segments (
    segment_no INTEGER NOT NULL,
    source_no INTEGER NOT NULL,
    n_activations BIGINT NOT NULL
);

-- Within a segment in the order of feature, run and position.
CREATE TABLE base.postings (
    segment_no INTEGER NOT NULL,
    source_no INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    run_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    code USMALLINT NOT NULL,
    rest USMALLINT NOT NULL
);

-- What a segment says of each of its features: count, sum and maximum of its values.
CREATE TABLE base.tallies (
    segment_no INTEGER NOT NULL,
    source_no INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    n_tokens_active INTEGER NOT NULL,
    total DOUBLE NOT NULL,
    max_value FLOAT NOT NULL
);

-- The texts of the tokens again, 256 of a run in a row as a JSON list: what contexts are read from.
CREATE TABLE base.passages (
    run_no INTEGER NOT NULL,
    passage_no INTEGER NOT NULL,
    texts VARCHAR NOT NULL
);
