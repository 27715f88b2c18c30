/**
 * Hands connections on, from a port on 127.0.0.1 or a socket in the file system to another of the two: what listens in a
 * network namespace of its own is reached through a socket in the file system.
 *
 * Arguments: FROM TO, then more pairs. A port is a number, a socket a path.
 */
import { connect, createServer, type NetConnectOpts } from "node:net";

const addressOf = (text: string): NetConnectOpts =>
  /^\d+$/.test(text) ? { host: "127.0.0.1", port: Number(text) } : { path: text };

const ends = process.argv.slice(2);
for (let index = 0; index + 1 < ends.length; index += 2) {
  const [from, to] = ends.slice(index, index + 2) as [string, string];
  const server = createServer((near) => {
    const far = connect(addressOf(to));
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
      one.pipe(other);
    }
  });
  server.listen(addressOf(from));
}
