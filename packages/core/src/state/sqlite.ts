/**
 * Node's SQLite. By this rather than an import: on a Node without it, an import ends with ERR_UNKNOWN_BUILTIN_MODULE before
 * anything of ours runs that could say why.
 */
type Sqlite = typeof import("node:sqlite");

// Node before 20.16 does not even have the function.
const sqlite = process.getBuiltinModule?.("node:sqlite") as Sqlite | undefined;
if (sqlite === undefined)
  throw new Error(
    `Node ${process.versions.node} is too old: Pannier needs 22.13 or later. Install a current Node`,
  );

export const DatabaseSync: Sqlite["DatabaseSync"] = sqlite.DatabaseSync;
export type DatabaseSync = InstanceType<Sqlite["DatabaseSync"]>;
