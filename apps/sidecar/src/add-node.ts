/** Puts Node into a bundle with a command that starts it, and into what is told about it: `node add-node.ts PACKAGE BUNDLE`. */
import { appendFile, chmod, copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Sbom {
  readonly components: object[];
  readonly dependencies: { readonly ref: string; readonly dependsOn: string[] }[];
}

const RULE = "=".repeat(80);
const [from, bundle] = process.argv.slice(2) as [string, string];
const { name, version, license } = JSON.parse(
  await readFile(join(from, "package.json"), "utf8"),
) as Readonly<Record<"name" | "version" | "license", string>>;

await copyFile(join(from, "bin/node"), join(bundle, "bin/node"));

// For whoever looks inside: `kubectl exec POD -c pannier -- pannier status /content`.
const launcher = join(bundle, "bin/pannier");
await writeFile(
  launcher,
  '#!/bin/sh\nexec /opt/pannier/bin/node /opt/pannier/bin/pannier.js "$@"\n',
);
// Whatever the umask.
await chmod(launcher, 0o755);

const licence = await readFile(join(from, "LICENSE"), "utf8");
const text = `\n${RULE}\n${name}@${version}\n${RULE}\n\n${licence}\n`;
await appendFile(join(bundle, "LICENSES.txt"), text);

const path = join(bundle, "sbom.cdx.json");
const sbom = JSON.parse(await readFile(path, "utf8")) as Sbom;
const purl = `pkg:npm/${name}@${version}`;
sbom.components.push({
  type: "platform",
  "bom-ref": purl,
  name: "node",
  version,
  licenses: [{ expression: license }],
  // Vulnerabilities of Node are not told by the name of a package.
  cpe: `cpe:2.3:a:nodejs:node.js:${version}:*:*:*:*:*:*:*`,
  purl,
});
sbom.dependencies[0]?.dependsOn.push(purl);
sbom.dependencies.push({ ref: purl, dependsOn: [] });
await writeFile(path, `${JSON.stringify(sbom, undefined, 2)}\n`);
