/** The revisions that the crash tests publish: any process can tell what is in one from its number. */
import { createHash } from "node:crypto";
import type { Content } from "./memory-source.ts";

export interface CrashOrder {
  readonly target: string;
  readonly publish: "swap" | "mirror";
  readonly seed: number;
  /** Whether lanes fetch the files; otherwise the main thread does. */
  readonly lanes: boolean;
  /** The first revision to publish. */
  readonly from: number;
  /** Die at this call … */
  readonly at: number;
  /** … of this kind … */
  readonly kind: "any" | "name" | "file" | "state" | "lane";
  /** … before it is done, or right after. */
  readonly before: boolean;
}

export const keepOf = (revision: number): number => 1 + (revision % 3);

/** Numbers from 0 to 1 that only depend on what they are for. */
export function chance(...what: (string | number)[]): number {
  return createHash("sha1").update(what.join("/")).digest().readUInt32BE() / 2 ** 32;
}

/** Most paths stay as they are from one revision to the next; some are files here, directories there and links elsewhere. */
export function revisionContent(seed: number, revision: number): Content {
  const content: Content = { revision: String(revision) };
  for (let i = 0; i < 24; i++) {
    // Changes every few revisions.
    const version = Math.floor(
      (revision + 8 * chance(seed, i)) / (1 + 8 * chance(seed, i, "pace")),
    );
    const is = chance(seed, i, version);
    const path = `d${i % 3}/e${i % 5}/x${i}`;
    if (is < 0.15) continue;
    else if (is < 0.3) content[path] = { link: `target-${version}` };
    else if (is < 0.45)
      content[`${path}/below`] = { text: `below ${i} ${version}`, mode: is < 0.4 ? 0o644 : 0o755 };
    else content[path] = { text: `${i} ${version} `.repeat(1 + (i % 4) * 50), mtime: 1e12 + i };
  }
  return content;
}

/** As {@link readTree} shows it. */
export function asTree(content: Content): Record<string, string> {
  return Object.fromEntries(
    Object.entries(content).map(([path, value]) => [
      path,
      typeof value === "string" ? value : "link" in value ? `-> ${value.link}` : value.text,
    ]),
  );
}
