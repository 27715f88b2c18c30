/**
 * An application that reads a published tree as fast as it can, until its standard input ends. Every file of the
 * tree that is listed holds the number of the revision; what it saw is printed as JSON.
 *
 *     node reader.ts TARGET FILE...
 */
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

const [target, ...files] = process.argv.slice(2) as [string, ...string[]];
const current = join(target, "current");
const seen = { passes: 0, revisions: 0, outlived: 0, faults: [] as string[] };
let last = "";
let over = false;
process.stdin.on("end", () => (over = true)).resume();

function pass(): void {
  // The one thing that must never fail.
  const link = readlinkSync(current);
  const found = new Set<string>();
  for (const file of files) {
    try {
      found.add(readFileSync(join(target, link, file), "utf8"));
    } catch (error) {
      if (isOutlived(link, [...found][0])) seen.outlived++;
      else seen.faults.push(`${(error as Error).message}, with revision ${[...found][0]}`);
      return;
    }
  }
  if (found.size > 1) seen.faults.push(`revisions ${[...found].join(" and ")} in ${link}`);
  seen.passes++;
  if (link !== last) seen.revisions++;
  last = link;
}

/** A tree may go once there are two newer ones (`--keep 2`): this reader was too slow. */
function isOutlived(link: string, revision: string | undefined): boolean {
  if (revision === undefined) return readlinkSync(current) !== link;
  return Number(readFileSync(join(current, files[0] as string), "utf8")) >= Number(revision) + 2;
}

function work(): void {
  if (over) {
    process.stdout.write(`${JSON.stringify(seen)}\n`);
    return;
  }
  try {
    for (let i = 0; i < 20; i++) pass();
  } catch (error) {
    seen.faults.push((error as Error).message);
  }
  setImmediate(work);
}
work();
