import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

/** fake-gcs-server. It asks for no credentials. */
export interface GcsServer {
  /** `http://127.0.0.1:PORT`, for the option `endpoint`. */
  readonly endpoint: string;
  readonly port: number;
}

/**
 * In memory it holds objects of any name. It looks through all of them for each read there, which is too slow for
 * measuring; in a file system it does not.
 */
export async function startGcs(
  ground: Ground,
  program: string,
  backend: "memory" | "filesystem" = "memory",
): Promise<GcsServer> {
  const root = join(ground.base, "gcs");
  await mkdir(root);
  const { child, ports } = await listening("fake-gcs-server", 1, async ([port]) => {
    const where = ["-host", "127.0.0.1", "-port", String(port), "-scheme", "http"];
    const names = ["-public-host", `127.0.0.1:${port}`, "-external-url", `http://127.0.0.1:${port}`];
    const storage = ["-backend", backend, "-filesystem-root", root];
    return run(program, [...where, ...names, ...storage, "-log-level", "error"]);
  });
  ground.children.push(child);
  const port = ports[0] as number;
  return { endpoint: `http://127.0.0.1:${port}`, port };
}
