-- Activations twice: by run, and by feature in segments that are merged in the background.
-- A file of version 1 is not changed in place but written anew (see rebuild.py), because only a new
-- file can have the smaller blocks in which these narrow columns waste no space.

-- The float32 of these 32 bits, for values above zero; positive floats order as their bits do.
CREATE MACRO base.decode(bits) AS (
    ((bits >= 8388608)::INTEGER + (bits & 8388607) / 8388608::DOUBLE)
    * pow(2::DOUBLE, greatest(bits >> 23, 1) - 127)
)::FLOAT;

-- How far a code of the source is shifted to be those bits: 16 where values are kept as bfloat16.
ALTER TABLE base.sources ADD COLUMN code_shift INTEGER;

-- A slot is a feature of a source: first_slot + feature. No two sources share one.
ALTER TABLE base.sources ADD COLUMN first_slot INTEGER;

DROP TABLE base.activations;

-- In the order of run, feature and position: within a run, neighbours differ little in feature.
-- The compressions are those that DuckDB finds best here: not looking for them saves a sixth of the
-- time of writing.
CREATE TABLE base.activations (
    run_no INTEGER NOT NULL USING COMPRESSION rle,
    feature INTEGER NOT NULL USING COMPRESSION bitpacking,
    position INTEGER NOT NULL USING COMPRESSION bitpacking,
    code UINTEGER NOT NULL USING COMPRESSION bitpacking
);

-- 64 tokens of a run, the last one of it fewer. Passages number the tokens of all runs: token_no is
-- 64 * passage_no + index in the passage. Texts are a JSON list: what contexts are read from. The key
-- of the run is here a second time: looking it up takes as long as reading the texts.
CREATE TABLE base.passages (
    passage_no INTEGER NOT NULL,
    run_no INTEGER NOT NULL,
    run_key VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    texts VARCHAR NOT NULL
);

CREATE SEQUENCE base.segment_numbers;

-- A segment holds the activations of some runs of one source, and is never changed: merging writes
-- a new one and deletes those that it is made of, in one transaction.
CREATE TABLE base.segments (
    segment_no INTEGER NOT NULL,
    source_no INTEGER NOT NULL,
    n_activations BIGINT NOT NULL
);

-- Within a segment in the order of slot and token.
CREATE TABLE base.postings (
    segment_no INTEGER NOT NULL USING COMPRESSION rle,
    slot INTEGER NOT NULL USING COMPRESSION rle,
    token_no INTEGER NOT NULL USING COMPRESSION bitpacking,
    code UINTEGER NOT NULL USING COMPRESSION bitpacking
);

-- What a segment says of each of its slots: count, sum and maximum of the values. At least 64 of the
-- slot's postings have top_code or more; it is 0 where that is not known, or all are read as quickly.
CREATE TABLE base.tallies (
    segment_no INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    n_tokens_active INTEGER NOT NULL,
    total FLOAT NOT NULL,
    max_value FLOAT NOT NULL,
    top_code UINTEGER NOT NULL
);
