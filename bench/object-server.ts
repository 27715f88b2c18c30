/** The server of `object-server/`, built and running over HTTP and HTTPS. */
import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeCertificates } from "../test/real/servers/certificates.ts";
import { end, listening, run } from "../test/real/servers/process.ts";
import type { Store } from "./s3.ts";

const SOURCE = join(import.meta.dirname, "object-server");
/** Milliseconds until it has taken the checksums of all objects. */
const HASHING = 120_000;
const KEYS = { id: "bench", secret: "bench" };

export interface ObjectServers {
  readonly http: Store;
  readonly https: Store;
}

/** Servers for as long as `use` takes. @param fill gets the directory whose directories are the buckets */
export async function withObjectServers<Value>(
  fill: (root: string) => Promise<void>,
  use: (servers: ObjectServers) => Promise<Value>,
): Promise<Value> {
  const base = await mkdtemp("/dev/shm/pannier-bench-objects-");
  const root = join(base, "buckets");
  const program = join(base, "object-server");
  const children: Parameters<typeof end>[0][] = [];
  try {
    await mkdir(root);
    await fill(root);
    execFileSync("go", ["build", "-o", program, "."], { cwd: SOURCE, stdio: "inherit" });
    makeCertificates(base);
    const start = async (...certificate: string[]) => {
      const { child, ports } = await listening(
        "object-server",
        1,
        async ([port]) =>
          run(program, [root, `127.0.0.1:${port}`, ...certificate], { quiet: true }),
        HASHING,
      );
      children.push(child);
      return `127.0.0.1:${ports[0]}`;
    };
    return await use({
      http: { endpoint: `http://${await start()}`, keys: KEYS },
      https: {
        endpoint: `https://${await start(join(base, "server.pem"), join(base, "server.key"))}`,
        keys: KEYS,
        ca: join(base, "ca.pem"),
      },
    });
  } finally {
    await Promise.all(children.map(end));
    await rm(base, { recursive: true, force: true });
  }
}
