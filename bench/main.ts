/**
 * `npm run bench [-- NAME...]`: measures Pannier beside its peers on this machine, prints the tables, and puts each in
 * its place in README.md. Without names: all of them, which takes some minutes.
 */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleInto } from "./tools.ts";

const README = fileURLToPath(new URL("README.md", import.meta.url));

/** Each measures and returns its table, in Markdown. */
const BENCHES: Record<string, () => Promise<string>> = {
  "git-update": async () => (await import("./git.ts")).update(),
  "git-first": async () => (await import("./git.ts")).first(),
  "git-scale": async () => (await import("./git.ts")).scale(),
  poll: async () => (await import("./poll.ts")).poll(),
  idle: async () => (await import("./idle.ts")).idle(),
  "artifact-first": async () => (await import("./artifact.ts")).first(),
  "artifact-update": async () => (await import("./artifact.ts")).update(),
  followers: async () => (await import("./followers.ts")).followers(),
  k8s: async () => (await import("./k8s.ts")).k8s(),
  "file-first": async () => (await import("./file.ts")).first(),
  "file-unchanged": async () => (await import("./file.ts")).unchanged(),
  archives: async () => (await import("./archives.ts")).archives(),
  http: async () => (await import("./http.ts")).httpFirst(),
  "object-stores-azure": async () => (await import("./azure.ts")).azureFirst(),
  "object-stores-gcs": async () => (await import("./gcs.ts")).gcsFirst(),
  "object-stores-s3-first": async () => (await import("./s3-first-sync.ts")).s3First(),
  "object-stores-s3-large": async () => (await import("./s3-first-sync.ts")).s3Large(),
  "object-stores-s3-unchanged": async () => (await import("./s3-changes.ts")).s3Unchanged(),
  "object-stores-s3-changed": async () => (await import("./s3-changes.ts")).s3Changed(),
  "object-stores-s3-million": async () => (await import("./s3-changes.ts")).s3Million(),
  sdks: async () => (await import("./sdks.ts")).sdks(),
  "shares-sftp": async () => (await import("./shares.ts")).sftp(),
  "shares-ftp": async () => (await import("./shares.ts")).ftp(),
  "shares-webdav": async () => (await import("./shares.ts")).webdav(),
  "shares-smb": async () => (await import("./shares.ts")).smb(),
  "shares-nfs": async () => (await import("./shares.ts")).nfs(),
  start: async () => (await import("./start.ts")).start(),
};

/** A name stands for all that begin with it: `object-stores`. */
const names = process.argv.slice(2).flatMap((name) => {
  const below = Object.keys(BENCHES).filter((each) => each.startsWith(`${name}-`));
  return Object.hasOwn(BENCHES, name) || below.length === 0 ? [name] : below;
});
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (unknown.length > 0) {
  console.error(`no bench ${unknown.join(", ")}; there are ${Object.keys(BENCHES).join(", ")}`);
  process.exit(2);
}

// What images run is what is measured.
execFileSync("npm", ["run", "build"], { stdio: ["ignore", "ignore", "inherit"] });
const bundle = await mkdtemp(join(tmpdir(), "pannier-bench-bundle-"));
process.on("exit", () => rmSync(bundle, { recursive: true, force: true }));
bundleInto(bundle);

for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
  console.error(`${name}:`);
  const result = `${await BENCHES[name]?.()}\n\n${environment()}`;
  console.log(`${result}\n`);
  await record(name, result);
}

/** Puts a result between its marks. */
async function record(name: string, result: string): Promise<void> {
  const text = await readFile(README, "utf8");
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [before, after] = [text.indexOf(start), text.indexOf(end)];
  if (before < 0 || after < 0) throw new Error(`README.md has no place for ${name}`);
  const updated = `${text.slice(0, before + start.length)}\n\n${result}\n\n${text.slice(after)}`;
  await writeFile(README, updated);
}

function environment(): string {
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  const model = cpus()[0]?.model ?? "an unknown processor";
  return `${cpus().length} × ${model}, ${memory}, Linux ${release()}, Node ${process.versions.node}.`;
}
