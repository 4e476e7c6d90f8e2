-- What people and machines say of features, lists of features, and how values of a feature spread.

-- A label is never changed: an edit is a new row that says which one it replaces. status is active,
-- replaced, late (an edit of what somebody else had edited already) or withdrawn.
ALTER TABLE base.labels ADD COLUMN label_id VARCHAR DEFAULT (replace(uuid()::VARCHAR, '-', ''));
ALTER TABLE base.labels ADD COLUMN evidence JSON;
ALTER TABLE base.labels ADD COLUMN replaces VARCHAR;
ALTER TABLE base.labels ADD COLUMN status VARCHAR DEFAULT 'active';
ALTER TABLE base.labels ADD COLUMN ended_at TIMESTAMP;
ALTER TABLE base.labels ADD COLUMN ended_by VARCHAR;

CREATE TABLE base.feature_lists (
    list_id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    note VARCHAR NOT NULL,
    created_by VARCHAR NOT NULL,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP
);

CREATE TABLE base.feature_list_items (
    list_id VARCHAR NOT NULL,
    source_no INTEGER NOT NULL,
    feature INTEGER NOT NULL,
    note VARCHAR NOT NULL,
    added_by VARCHAR NOT NULL,
    added_at TIMESTAMP NOT NULL
);

-- How the values of a slot with many postings in a segment spread: bin is what remains of a code
-- without its lowest bits, four bins to a doubling. Slots with few postings have no row, nor have
-- those of segments that an earlier version wrote, until they are merged: their postings are read.
CREATE TABLE base.bins (
    segment_no INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    bin SMALLINT NOT NULL,
    n_tokens_active INTEGER NOT NULL
);
