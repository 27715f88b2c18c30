/** Where a source's path leads to on the server. In the helper process only. */
import { posix } from "node:path";
import type { Facts, Start } from "./protocol.ts";
import { NfsProblem } from "./problem.ts";
import type { Session } from "./session.ts";

export interface Root {
  /** What connections mount: a directory. */
  readonly mount: string;
  /** Below that, with a `/` at the beginning and none at the end; empty for itself. */
  readonly path: string;
  readonly facts: Facts;
}

const LINKS = 16;
const ENOENT = 2;

/**
 * Goes to the source's path step by step: libnfs follows symlinks in ways that cannot be relied on.
 *
 * @param open makes a connection that has mounted a directory
 * @throws NfsProblem
 */
export async function findRoot(
  start: Pick<Start, "version" | "path">,
  open: (directory: string) => Promise<Session>,
): Promise<Root> {
  // Version 4 has one tree with all exports in it. Version 3 has exports, and mostly mounts what is below one as well.
  const tops = start.version === 4 ? ["/"] : ancestors(start.path);
  let first: unknown;
  for (const top of tops) {
    let session: Session;
    try {
      session = await open(top);
    } catch (error) {
      first ??= error;
      if (!(error instanceof NfsProblem) || error.problem.step !== "mount") throw error;
      continue;
    }
    try {
      const { path, facts } = await follow(session, top, start.path);
      if (facts.kind === "directory" && start.version === 4)
        return { mount: path, path: "", facts };
      if (start.version === 4)
        return { mount: posix.dirname(path), path: `/${posix.basename(path)}`, facts };
      return { mount: top, path: path === top ? "" : `/${posix.relative(top, path)}`, facts };
    } finally {
      session.close();
    }
  }
  throw first;
}

/** @param top what the connection has mounted */
async function follow(session: Session, top: string, wanted: string) {
  let path = wanted;
  for (let links = 0; links < LINKS; links++) {
    const below = posix.relative(top, path);
    if (below.startsWith("..")) break;
    const names = below === "" ? [] : below.split("/");
    let at = "";
    let facts = await session.lstat("/");
    for (const [index, name] of names.entries()) {
      at += `/${name}`;
      facts = await session.lstat(at);
      if (facts.kind !== "symlink") continue;
      const target = await session.readlink(at, facts.size);
      const rest = names.slice(index + 1).join("/");
      path = posix.resolve(top, posix.dirname(at).slice(1), target, rest);
      break;
    }
    if (facts.kind !== "symlink") return { path, facts };
  }
  throw new NfsProblem({ step: "call", errno: ENOENT, text: "a symlink leads out of the export" });
}

/** A path and those above it, the longest first. */
function ancestors(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "");
  return [...names.keys(), names.length]
    .toReversed()
    .map((count) => `/${names.slice(0, count).join("/")}`);
}
