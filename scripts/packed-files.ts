import { globSync, readFileSync } from "node:fs";
import { join, matchesGlob } from "node:path";
import { packedReadme } from "./pack.ts";
import { type Manifest, ROOT } from "./repository.ts";

/** Name → content, as in the tarball. */
export type Files = ReadonlyMap<string, Uint8Array>;

/** As `npm pack` has them, whose own way takes a second for each: `test/workspace/packages.test.ts` compares the two. */
export function packedFiles(
  directory: string,
  { files = [], version }: Pick<Manifest, "name" | "version" | "files">,
  checkout = ROOT,
): Files {
  const cwd = join(checkout, directory);
  const read = (name: string) => readFileSync(join(cwd, name));
  const without = files.filter((one) => one.startsWith("!")).map((one) => one.slice(1));
  const names = globSync(
    files.filter((one) => !one.startsWith("!")).map((one) => `${one}/**/*.*`),
    { cwd },
  ).filter((name) => !without.some((one) => matchesGlob(name, one)));
  return new Map<string, Uint8Array>([
    ["LICENSE", readFileSync(join(ROOT, "LICENSE"))],
    ["README.md", Buffer.from(packedReadme(String(read("README.md")), directory, version))],
    ["package.json", read("package.json")],
    ...names.map((name) => [name, read(name)] as const),
  ]);
}
