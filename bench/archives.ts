/** Archives of many small files, from nginx, beside what unpacks them from tmpfs. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { startServers } from "../test/real/servers/start.ts";
import { firstSyncs, type Tool } from "./first-sync.ts";
import { pannier } from "./tools.ts";

const FILES = Number(process.env["PANNIER_BENCH_FILES"] ?? 65_000);

/** Kinds of archives: what packs the directory it runs in, and what else unpacks. */
const KINDS = [
  { name: "zip", pack: 'zip -qr "$1" .', unpack: ["bsdtar", "-xf"] },
  { name: "tar.gz", pack: 'tar -czf "$1" .', unpack: ["tar", "-xzf"] },
  { name: "tar.zst", pack: 'tar -I zstd -cf "$1" .', unpack: ["tar", "-I", "zstd", "-xf"] },
] as const;

export async function archives(): Promise<string> {
  const running = await startServers(["nginx"]);
  const content = await mkdtemp("/dev/shm/pannier-bench-content-");
  try {
    const { nginx, missing } = running.servers;
    if (nginx === undefined) throw new Error(missing["nginx"]);
    makeContent(content);
    const tables: string[] = [];
    for (const { name, pack, unpack } of KINDS) {
      const archive = join(nginx.root, `content.${name}`);
      execFileSync("sh", ["-c", pack, "sh", archive], { cwd: content });
      const url = `${nginx.http}/files/content.${name}?extract=true`;
      const ours: Tool = { name: "pannier", command: (target) => pannier("sync", url, target) };
      const [program, ...flags] = unpack;
      const peer: Tool = {
        name: [program, ...flags].join(" "),
        command: (target) => ({ program, args: [...flags, archive, "-C", target] }),
      };
      tables.push(`${name}. ${await firstSyncs({ ours: [ours], peers: [peer], files: FILES })}`);
    }
    return tables.join("\n\n");
  } finally {
    await running.stop();
    await rm(content, { recursive: true, force: true });
  }
}

/** Files of 0.2 to 2 KB in directories of a hundred, which compress to half. */
function makeContent(root: string): void {
  for (let index = 0; index < FILES; index++) {
    const directory = join(root, `dir-${Math.floor(index / 100)}`);
    if (index % 100 === 0) mkdirSync(directory);
    const text = randomBytes(50 + ((index * 7919) % 450)).toString("hex");
    writeFileSync(join(directory, `file-${index}.txt`), text + text);
  }
}
