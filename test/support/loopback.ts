/** Servers of tests that are in this process. */
import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Listens on a free port of 127.0.0.1. The process does not wait for the server, so who is done with it need not close it. */
export async function listenOnLoopback(
  server: Server,
): Promise<{ readonly port: number; close(): Promise<void> }> {
  server.listen(0, "127.0.0.1");
  server.unref();
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
