/** Ports for servers that cannot choose one themselves. */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

/** Below those that Linux gives to connections and to servers that listen on port 0: such a one may be taken before it is used. */
const LOWEST = 15_000;
const HIGHEST = 29_999;

const given = new Set<number>();

/** A port of 127.0.0.1 that nobody listens on; each only once. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(LOWEST, HIGHEST + 1);
    if (given.has(port)) continue;
    given.add(port);
    const server = createServer();
    const free = once(server, "listening").then(
      () => true,
      () => false,
    );
    server.listen(port, "127.0.0.1");
    if (!(await free)) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
