-- Of each slot that has 2,048 postings or more in a segment, the 64 strongest of them there: what the
-- contexts of a frequent feature are read from. A slot that has none here is read from its postings.
CREATE TABLE base.peaks (
    segment_no INTEGER NOT NULL USING COMPRESSION rle,
    slot INTEGER NOT NULL USING COMPRESSION rle,
    token_no INTEGER NOT NULL USING COMPRESSION bitpacking,
    code UINTEGER NOT NULL USING COMPRESSION bitpacking
);

-- top_code is reached by 64 of them, so that this sorts only few of the postings.
INSERT INTO base.peaks
SELECT segment_no, slot, token_no, code
FROM base.postings JOIN base.tallies USING (segment_no, slot)
WHERE top_code > 0 AND code >= top_code
QUALIFY row_number() OVER (PARTITION BY segment_no, slot ORDER BY code DESC, token_no) <= 64
ORDER BY segment_no, slot, code DESC, token_no;

ALTER TABLE base.tallies DROP COLUMN top_code;

-- What writes leave, until it is merged into postings: in a table of its own, because appends of two
-- writers to one table share row groups, and one that holds the first and the last slots has to be
-- looked through for all between them.
CREATE TABLE base.fresh_postings (
    segment_no INTEGER NOT NULL USING COMPRESSION rle,
    slot INTEGER NOT NULL USING COMPRESSION rle,
    token_no INTEGER NOT NULL USING COMPRESSION bitpacking,
    code UINTEGER NOT NULL USING COMPRESSION bitpacking
);

-- Contexts come from all over the passages: without an index, each drags thousands of others along.
CREATE UNIQUE INDEX passages_by_number ON base.passages (passage_no);
