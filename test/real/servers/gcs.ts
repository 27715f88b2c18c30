import { existsSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

/** Two of fake-gcs-server. They ask for no credentials. */
export interface GcsServer {
  /** With its objects in memory, where they may have any name. `http://127.0.0.1:PORT`, for the option `endpoint`. */
  readonly endpoint: string;
  readonly port: number;
  /**
   * With its objects in a file system. The other one looks through all of them, slowly, for each that is read or
   * written: too long for thousands.
   */
  readonly many: { readonly endpoint: string; readonly port: number };
}

export async function startGcs(ground: Ground, program: string): Promise<GcsServer> {
  // It waits for the disk with each object: tmpfs, where there is one.
  const base = existsSync("/dev/shm") ? "/dev/shm" : ground.base;
  const root = await mkdtemp(join(base, "pannier-gcs-"));
  const many = await start(ground, program, ["-backend", "filesystem", "-filesystem-root", root]);
  many.child.once("exit", () => rmSync(root, { recursive: true, force: true }));
  const memory = await start(ground, program, ["-backend", "memory"]);
  const { endpoint, port } = memory;
  return { endpoint, port, many: { endpoint: many.endpoint, port: many.port } };
}

async function start(ground: Ground, program: string, storage: readonly string[]) {
  const { child, ports } = await listening("fake-gcs-server", 1, async ([port]) => {
    const where = ["-host", "127.0.0.1", "-port", String(port), "-scheme", "http"];
    // What it takes requests for objects for, and what it says that it is called.
    const names = [
      "-public-host",
      `127.0.0.1:${port}`,
      "-external-url",
      `http://127.0.0.1:${port}`,
    ];
    return run(program, [...where, ...names, ...storage, "-log-level", "error"]);
  });
  ground.children.push(child);
  const port = ports[0] as number;
  return { child, endpoint: `http://127.0.0.1:${port}`, port };
}
