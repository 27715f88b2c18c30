/** Folders in the source's scratch directory, for as long as a process runs. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** Their names begin so, also of those for layers as they came; what is left of an earlier process is known by it. */
const PREFIX = "unpacked-";

export function makeFolder(scratch: string): Promise<string> {
  return mkdtemp(join(scratch, PREFIX));
}

/** Removes what an earlier process left in a scratch directory. */
export async function removeLeftovers(scratch: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    if (name.startsWith(PREFIX)) await rm(join(scratch, name), { recursive: true, force: true });
  }
}
