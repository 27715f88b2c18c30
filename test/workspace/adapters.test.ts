import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BUILT_IN } from "../../packages/cli/src/adapters.ts";

const PACKAGES = join(import.meta.dirname, "../../packages");

test("every adapter of ours is built in, and says about itself what the list says", async () => {
  const folders = (await readdir(PACKAGES)).filter(
    (name) => name.startsWith("adapter-") && name !== "adapter-kit",
  );
  expect(BUILT_IN.map(({ name }) => `adapter-${name}`).toSorted()).toEqual(folders.toSorted());

  for (const { name, package: from, schemes, load } of BUILT_IN) {
    const adapter = await load();
    const manifest = JSON.parse(
      await readFile(join(PACKAGES, `adapter-${name}`, "package.json"), "utf8"),
    ) as { name: string; pannier?: { schemes: string[] } };
    expect([adapter.name, adapter.package, manifest.name]).toEqual([name, from, from]);
    expect(manifest.pannier?.schemes, `pannier.schemes in adapter-${name}/package.json`).toEqual(
      schemes,
    );
    for (const scheme of adapter.schemes) expect(schemes).toContain(scheme);
  }
});
