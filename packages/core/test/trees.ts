/** Looking at targets in tests. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** Every path of a tree with its content; links as `-> text`, empty directories with a slash at the end. */
export function readTree(root: string, directory = ""): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(join(root, directory), { withFileTypes: true })) {
    const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
    if (path === ".pannier") continue;
    if (entry.isDirectory()) {
      const below = readTree(root, path);
      Object.assign(found, Object.keys(below).length === 0 ? { [`${path}/`]: "" } : below);
    } else
      found[path] = entry.isSymbolicLink()
        ? `-> ${readlinkSync(join(root, path))}`
        : readFileSync(join(root, path), "utf8");
  }
  return found;
}

/** What lies in Pannier's own directory and does not belong there, provided that nothing is at work. */
export function litterOf(target: string, kept: readonly string[] = []): string[] {
  const home = join(target, ".pannier");
  const known = /^(generations|scratch|state\.db(-wal|-shm)?|lock|candidate-[0-9a-f]+)$/;
  const names = readdirSync(home);
  const candidates = names.filter((name) => name.startsWith("candidate-"));
  return [
    ...names.filter((name) => !known.test(name)),
    ...candidates.slice(1),
    ...readdirSync(join(home, "generations")).filter(
      (name) => kept.length > 0 && !kept.includes(name),
    ),
  ];
}
