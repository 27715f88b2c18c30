/** The name of a state of a mount. */
import { createHash, hash } from "node:crypto";
import type { Pause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";
import { publishedEntry } from "../state/entries.ts";
import { changedUnseen, namedChanges } from "../state/plan-paths.ts";
import type { EntryRow } from "../state/row.ts";

const MODULUS = 1n << 256n;

/**
 * A digest of the tree's entries, kept up by what a plan adds and takes away: the sum, modulo 2^256, of the SHA-256 of each
 * entry. So it costs what changed, and two mounts with equal content have equal digests. It is a name, not a proof:
 * content is verified file by file.
 */
export async function digestAfterPlan(
  state: State,
  before: { readonly digest: string } | undefined,
  pause: Pause,
): Promise<string> {
  let sum = before === undefined ? 0n : BigInt(`0x${before.digest}`);
  const published = publishedEntry(state);
  for (const row of namedChanges(state)) {
    const old = row.change === "added" ? undefined : published(row.path);
    if (old !== undefined) sum -= entryDigest(old);
    if (row.change !== "deleted") sum += entryDigest(row);
    const others = pause();
    if (others !== undefined) await others;
  }
  sum = ((sum % MODULUS) + MODULUS) % MODULUS;
  return sum.toString(16).padStart(64, "0");
}

/** What of an entry a revision depends on. */
type NamedRow = Pick<EntryRow, "path" | "kind" | "mode" | "fingerprint">;

function entryDigest({ path, kind, mode, fingerprint }: NamedRow): bigint {
  return BigInt(`0x${hash("sha256", `${path}\0${kind}\0${mode ?? ""}\0${fingerprint}`)}`);
}

/** A mount with one source that names its revisions has that name; any other is named by its content. */
export function nameRevision(
  layers: readonly { readonly revision: string }[],
  digest: string,
): string {
  const [only] = layers;
  return layers.length === 1 && only !== undefined && only.revision !== ""
    ? only.revision
    : digest.slice(0, 40);
}

/**
 * The revision of a plan that was carried out. Content that was read again and is another under the same fingerprint makes a revision
 * that neither the source nor the digest has a name for.
 */
export function revisionFound(state: State, revision: string): string {
  const name = createHash("sha256").update(revision);
  let found = false;
  for (const { path, sha256 } of changedUnseen(state)) {
    name.update(`\0${path}\0${sha256}`);
    found = true;
  }
  return found ? name.digest("hex").slice(0, 40) : revision;
}

/** A revision that can be the name of a directory, or a digest of it where it cannot. */
export function revisionName(revision: string): string {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(revision)) return revision;
  return hash("sha256", revision).slice(0, 40);
}
