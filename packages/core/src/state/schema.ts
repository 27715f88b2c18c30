/**
 * The tables of `.pannier/state.db`.
 *
 * Rows of `entries` are valid from one generation (`since`) until another (`until`, exclusive; NULL: still), so the tree of any kept
 * generation, and the difference between two, are queries, and publishing a change costs rows for the change alone.
 * A path may have a row in several layers; the one of the highest layer is what the tree shows.
 */

/** Raised when a table changes. A state written by a later version is refused, one by an earlier version is brought up to date. */
export const SCHEMA_VERSION = 2;

/** Columns that describe an entry as its source told it; the same in every table that holds entries. */
const SOURCE_COLUMNS = `
  kind INTEGER NOT NULL,       -- 0 file, 1 symlink, 2 symlink left out by the symlink policy
  size INTEGER,
  mode INTEGER,
  mtime REAL,                  -- milliseconds
  fingerprint TEXT NOT NULL,   -- for a symlink: its target
  sha256 TEXT,                 -- of the content, once it was read; before that what its source vouches for, also as md5:HEX
  ref TEXT`;

/** Columns that describe the file on the volume, by which tampering is noticed. */
const DISK_COLUMNS = `
  ino REAL,                    -- REAL: an inode number beyond 2^53 must not make a row unreadable
  disk_mtime REAL`;

const PLAN = `CREATE TABLE plan (
  path TEXT NOT NULL,
  layer INTEGER NOT NULL,
  action TEXT NOT NULL,        -- put, or remove: the layer's row ends
  effective INTEGER NOT NULL DEFAULT 1, -- 1: this row decides what the tree shows at the path
  change TEXT,                 -- of an effective row: added, changed, deleted or touched, see plan.ts
  content TEXT NOT NULL DEFAULT 'fetch', -- fetch, mustFetch, samePublished or reread, see plan.ts
  ${SOURCE_COLUMNS},
  ${DISK_COLUMNS},
  staged TEXT,                 -- mirror: name of the fetched file, waiting to be moved into place
  PRIMARY KEY (path, layer)
) WITHOUT ROWID;`;

export const SCHEMA = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE generations (
  id INTEGER PRIMARY KEY,
  revision TEXT NOT NULL,
  tree TEXT,                   -- name below .pannier/generations; NULL once the tree is gone
  slot INTEGER,                -- what names this tree in directories
  created INTEGER NOT NULL,    -- milliseconds
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  added INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  deleted INTEGER NOT NULL,
  digest TEXT NOT NULL,        -- of the tree's entries, see revision.ts
  layers TEXT NOT NULL         -- JSON: LayerRecord[]
);

CREATE TABLE entries (
  path TEXT NOT NULL,
  layer INTEGER NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER,
  ${SOURCE_COLUMNS},
  ${DISK_COLUMNS},
  PRIMARY KEY (path, layer, since)
) WITHOUT ROWID;
CREATE INDEX entries_symlinks ON entries (kind) WHERE kind > 0;
CREATE INDEX entries_ended ON entries (until) WHERE until IS NOT NULL;

-- The paths whose visible content a generation changed, so that a difference costs what changed.
CREATE TABLE deltas (generation INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY (generation, path)) WITHOUT ROWID;

-- The plan of the sync under way, or of the last one that failed.
${PLAN}

-- How a candidate tree that was left behind half done differs from the generation it was recycled from. present 0: the path is not there.
CREATE TABLE overlay (
  path TEXT PRIMARY KEY,
  present INTEGER NOT NULL,
  origin TEXT,                 -- identity of the source the content came from
  kind INTEGER,
  size INTEGER,
  mode INTEGER,
  fingerprint TEXT,
  sha256 TEXT,
  ${DISK_COLUMNS}
) WITHOUT ROWID;

-- Directories of the trees on the volume as they were left: a changed one has been meddled with.
CREATE TABLE directories (
  slot INTEGER NOT NULL,
  path TEXT NOT NULL,
  ino REAL NOT NULL,
  ctime REAL NOT NULL,
  PRIMARY KEY (slot, path)
) WITHOUT ROWID;

-- Used while a candidate is compared with what it should be: the paths found as recorded.
CREATE TABLE seen (path TEXT PRIMARY KEY) WITHOUT ROWID;

-- Listings too long to be sorted in memory pass through here.
CREATE TABLE spool (path TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID;
`;

/** Brings a state of version 1 up to date: it had letters and numbers in its plan. */
export const FROM_VERSION_1 = `
ALTER TABLE plan RENAME TO plan_1;
${PLAN}
INSERT INTO plan
  SELECT path, layer, CASE put WHEN 1 THEN 'put' ELSE 'remove' END, wins,
    CASE change WHEN 'A' THEN 'added' WHEN 'M' THEN 'changed' WHEN 'D' THEN 'deleted' WHEN 'T' THEN 'touched' END,
    CASE same WHEN 1 THEN 'samePublished' WHEN 2 THEN 'mustFetch' WHEN 3 THEN 'reread' ELSE 'fetch' END,
    kind, size, mode, mtime, fingerprint, sha256, ref, ino, disk_mtime, staged
  FROM plan_1;
DROP TABLE plan_1;
`;
