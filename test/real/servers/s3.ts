import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Ground, listening, run } from "./process.ts";

/** A server of S3's API, whose buckets are directories. */
export interface S3Server {
  readonly port: number;
  readonly keys: { readonly id: string; readonly secret: string };
}

const KEYS = { id: "AKIAPANNIERREALTESTS", secret: "a/secret+of-the-real-tests" };

/** Versity's gateway. */
export async function startVersity(ground: Ground, program: string): Promise<S3Server> {
  const [buckets, metadata] = [
    join(ground.base, "versity"),
    join(ground.base, "metadata-of-versity"),
  ];
  for (const folder of [buckets, metadata]) await mkdir(folder);
  const { child, ports } = await listening("versitygw", 1, async ([port]) => {
    const keys = ["--access", KEYS.id, "--secret", KEYS.secret];
    // It would end each connection after one answer, as AWS does not.
    const where = ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet"];
    // Not every file system takes extended attributes.
    return run(program, [...where, ...keys, "posix", "--sidecar", metadata, buckets]);
  });
  ground.children.push(child);
  return { port: ports[0] as number, keys: KEYS };
}

/** Debian's rclone, at version 1.60, has other servers only. */
export async function cannotServeS3(program: string): Promise<string | undefined> {
  // Of a server that it does not have, too, it ends well.
  const help = promisify(execFile)(program, ["serve", "s3", "--help"]);
  const { stdout } = await help.catch(() => ({ stdout: "" }));
  if (stdout.includes("--auth-key")) return undefined;
  return `${program} cannot serve S3: test/real/run installs one that can`;
}

/** rclone's own server. */
export async function startRclone(ground: Ground, program: string): Promise<S3Server> {
  const buckets = join(ground.base, "rclone");
  await mkdir(buckets);
  const { child, ports } = await listening("rclone serve s3", 1, async ([port]) => {
    const where = ["--addr", `127.0.0.1:${port}`, "--config", "/dev/null", "--log-level", "ERROR"];
    const what = ["serve", "s3", buckets, "--auth-key", `${KEYS.id},${KEYS.secret}`];
    // Directories stay in memory (all is written by this server): a listing would read its directory again for each file.
    const how = ["--vfs-cache-mode", "off", "--no-unicode-normalization"];
    return run(program, [...what, ...where, ...how]);
  });
  ground.children.push(child);
  return { port: ports[0] as number, keys: KEYS };
}
