/** The index of a web server: many small files, from nothing to published, beside rclone. */
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { startServers } from "../test/real/servers/start.ts";
import { firstSyncs, smallFiles, type Tool } from "./first-sync.ts";
import { pannier, rclone } from "./tools.ts";

const FILES = 5000;

export async function httpFirst(): Promise<string> {
  const running = await startServers(["nginx"]);
  try {
    const { nginx, missing } = running.servers;
    if (nginx === undefined) throw new Error(missing["nginx"]);
    for (const [path, content] of smallFiles(FILES, 50)) {
      const file = join(nginx.root, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
    }
    const url = `${nginx.http}/html/`;
    const peer = (name: string, flags: readonly string[]): Tool => ({
      name,
      command: (target) => rclone(["sync", `:http,url="${url}":`, target, ...flags]),
    });
    return await firstSyncs({
      ours: [{ name: "pannier", command: (target) => pannier("sync", url, target) }],
      peers: [
        peer("rclone", []),
        peer("rclone tuned", ["--transfers=64", "--checkers=64", "--http-no-head"]),
      ],
      files: FILES,
    });
  } finally {
    await running.stop();
  }
}
