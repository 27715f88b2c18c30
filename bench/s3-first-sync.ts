/** First syncs from S3, beside rclone by default and tuned. */
import { randomBytes } from "node:crypto";
import { appendFile, link, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { firstSyncs, putAll, smallFiles } from "./first-sync.ts";
import { withObjectServers } from "./object-server.ts";
import { BUCKET, pannierS3, rcloneS3, type Store, TUNED, withVersity } from "./s3.ts";

const OBJECTS = 10_000;
const LARGE_MIB = Number(process.env["PANNIER_BENCH_LARGE_MIB"] ?? 2048);

/** Many objects of 1 to 17 KiB: from Versity's gateway, and from a server that leaves more of the processors to its clients. */
export async function s3First(): Promise<string> {
  const versity = await withVersity(async (store, put) => {
    await putAll(smallFiles(OBJECTS, 100), put);
    return `Versity's gateway, HTTP. ${await beside(store, OBJECTS)}`;
  });
  const quick = await withObjectServers(
    async (root) => {
      for (const [path, content] of smallFiles(OBJECTS, 100)) {
        const file = join(root, BUCKET, path);
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, content);
      }
    },
    async ({ http, https }) => [
      `The quick server, HTTP. ${await beside(http, OBJECTS)}`,
      `The quick server, HTTPS. ${await beside(https, OBJECTS)}`,
    ],
  );
  return [versity, ...quick].join("\n\n");
}

/** One object of 2 GiB less one byte, from the quick server: as it was put in one piece, and in parts of 8 MiB. */
export async function s3Large(): Promise<string> {
  const tables = await withObjectServers(
    async (root) => {
      for (const bucket of [BUCKET, "parts"]) await mkdir(join(root, bucket));
      const content = join(root, BUCKET, "large.bin");
      // One PUT takes no more.
      await appendFile(content, randomBytes(2 ** 20 - 1));
      for (let mib = 1; mib < LARGE_MIB; mib++) await appendFile(content, randomBytes(2 ** 20));
      await link(content, join(root, "parts/large.bin"));
    },
    async ({ http, https }) => [
      `In one piece, HTTP. ${await beside(http, 1)}`,
      `In parts, HTTP. ${await beside(http, 1, "parts")}`,
      `In parts, HTTPS. ${await beside(https, 1, "parts")}`,
    ],
  );
  return tables.join("\n\n");
}

function beside(store: Store, files: number, bucket = BUCKET): Promise<string> {
  const peer = (name: string, flags: readonly string[]) => ({
    name,
    command: (target: string) => rcloneS3(store, ["sync", `s3:${bucket}`, target, ...flags]),
  });
  return firstSyncs({
    ours: [{ name: "pannier", command: (target) => pannierS3(store, target, bucket) }],
    peers: [peer("rclone", []), peer("rclone tuned", TUNED)],
    files,
  });
}
