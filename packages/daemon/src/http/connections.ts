/** Who may stay connected to the port: whoever sends nothing must not keep out those who ask. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";

export interface Connections {
  /** No longer counts the connection: it has found a share of its own. */
  leave(socket: Socket): void;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/**
 * Bounds the connections of a server. Where there is no room for a new one, the one goes that has waited longest without a whole request:
 * it is idle, or sends slowly, or does not take its answer. Those whose answer is being made stay. Not by `maxConnections`, which
 * turns away those that come, probes among them.
 */
export function boundConnections(server: Server, most: number): Connections {
  /** In the order in which they came, or last were given a whole answer. */
  const connections = new Map<Socket, Exchange | undefined>();

  server.on("connection", (socket: Socket) => {
    if (connections.size >= most && !endLongestWaiting()) {
      socket.destroy();
      return;
    }
    connections.set(socket, undefined);
    socket.once("close", () => connections.delete(socket));
  });
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request;
    if (!connections.has(socket)) return;
    connections.set(socket, { request, response });
    response.once("close", () => {
      if (connections.delete(socket) && !socket.destroyed) connections.set(socket, undefined);
    });
  });

  function endLongestWaiting(): boolean {
    for (const [socket, exchange] of connections) {
      if (exchange !== undefined && isBeingAnswered(exchange)) continue;
      connections.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  return { leave: (socket) => void connections.delete(socket) };
}

function isBeingAnswered({ request, response }: Exchange): boolean {
  return request.complete && !response.writableEnded;
}
