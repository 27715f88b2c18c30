#!/usr/bin/env node
/** `npm create pannier-adapter NAME`: a folder with an adapter that runs, its conformance test and a bundle command. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const USAGE = "npm create pannier-adapter NAME";
const TEMPLATE = new URL("../template/", import.meta.url);

const [name, ...more] = process.argv.slice(2);
if (name === undefined || more.length > 0 || name.startsWith("-")) fail(USAGE);
// It becomes a scheme (RFC 3986, 3.1) and a part of a package's name.
if (!/^[a-z][a-z0-9-]{0,50}$/.test(name))
  fail(`"${name}" is not a valid name: write small letters, digits and dashes`);

const folder = `pannier-adapter-${name}`;
try {
  mkdirSync(folder);
} catch (error) {
  fail(`${folder} cannot be made (${(error as NodeJS.ErrnoException).code})`);
}
const { version } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8"),
) as { version: string };
writeFileSync(
  join(folder, "package.json"),
  `${JSON.stringify(manifest(name, version), null, 2)}\n`,
);
for (const file of ["README.md", "adapter.js", "adapter.test.js", "server.js"]) {
  const text = readFileSync(new URL(file, TEMPLATE), "utf8");
  writeFileSync(join(folder, file), named(text, name));
}
process.stdout.write(`wrote ${folder}: next, cd ${folder} && npm install && npm test\n`);

function manifest(scheme: string, pannier: string) {
  return {
    name: folder,
    version: "0.1.0",
    description: `Files of a ${scheme} server, for Pannier.`,
    keywords: ["adapter", "pannier"],
    type: "module",
    exports: "./adapter.js",
    files: ["adapter.js"],
    scripts: {
      test: "vitest run",
      bundle: "pannier bundle --adapters ./adapter.js --out ./bundle",
    },
    dependencies: { "@pannier/core": pannier, "@pannier/http-client": pannier },
    devDependencies: { "@pannier/adapter-kit": pannier, "@pannier/cli": pannier, vitest: "^5.1.1" },
    engines: { node: ">=22.13" },
  };
}

/** The template's scheme is `shelf`; what the code calls a shelf stays one. */
function named(text: string, scheme: string): string {
  return text
    .replaceAll('"shelf"', `"${scheme}"`)
    .replaceAll("pannier-adapter-shelf", `pannier-adapter-${scheme}`)
    .replaceAll("shelf://", `${scheme}://`)
    .replaceAll("a shelf server", `a ${scheme} server`);
}

function fail(message: string): never {
  process.stderr.write(`create-pannier-adapter: ${message}\n`);
  process.exit(2);
}
