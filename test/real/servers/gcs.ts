import { type Ground, listening, run } from "./process.ts";

/** fake-gcs-server, with everything in its memory. It asks for no credentials. */
export interface GcsServer {
  /** `http://127.0.0.1:PORT`, for the option `endpoint`. */
  readonly endpoint: string;
  readonly port: number;
}

export async function startGcs(ground: Ground, program: string): Promise<GcsServer> {
  const { child, ports } = await listening("fake-gcs-server", 1, async ([port]) => {
    const where = ["-host", "127.0.0.1", "-port", String(port), "-scheme", "http"];
    // The public host is what it takes requests for objects for; the one it takes uploads for goes into Location.
    const names = [
      "-public-host",
      `127.0.0.1:${port}`,
      "-external-url",
      `http://127.0.0.1:${port}`,
    ];
    return run(program, [...where, ...names, "-backend", "memory", "-log-level", "error"]);
  });
  ground.children.push(child);
  const port = ports[0] as number;
  return { endpoint: `http://127.0.0.1:${port}`, port };
}
