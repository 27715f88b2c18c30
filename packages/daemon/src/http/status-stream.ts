/** What happens, as it happens, for dashboards that are open: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import type { OutgoingHttpHeaders, ServerResponse } from "node:http";

export interface StatusStream {
  /** Sends the status from now on, at once and after each change. @returns false where there is no place left */
  join(response: ServerResponse, headers: OutgoingHttpHeaders): boolean;
  /** Something changed. */
  changed(): void;
  close(): void;
}

const LISTENERS = 50;
/** Milliseconds between two messages: quick enough to look at, and nothing for the daemon to be busy with. */
const PACE = 250;
const HEARTBEAT = 20_000;

/** @param status made only while somebody listens */
export function createStatusStream(status: () => unknown): StatusStream {
  const listeners = new Set<ServerResponse>();
  let timer: NodeJS.Timeout | undefined;
  let heartbeat: NodeJS.Timeout | undefined;

  const send = (to: Iterable<ServerResponse>) => {
    const text = `data: ${JSON.stringify(status())}\n\n`;
    for (const response of to) write(response, text);
  };
  const leave = (response: ServerResponse) => {
    listeners.delete(response);
    if (listeners.size > 0) return;
    clearInterval(heartbeat);
    clearTimeout(timer);
    heartbeat = undefined;
    timer = undefined;
  };

  return {
    join(response, headers) {
      if (listeners.size >= LISTENERS) {
        response.writeHead(503, { ...headers, connection: "close" }).end();
        return false;
      }
      response.writeHead(200, {
        ...headers,
        "content-type": "text/event-stream",
        "x-accel-buffering": "no",
      });
      listeners.add(response);
      response.on("close", () => leave(response));
      heartbeat ??= setInterval(() => {
        for (const one of listeners) write(one, ":\n\n");
      }, HEARTBEAT).unref();
      write(response, "retry: 2000\n\n");
      send([response]);
      return true;
    },
    changed() {
      if (listeners.size === 0) return;
      timer ??= setTimeout(() => {
        timer = undefined;
        send(listeners);
      }, PACE).unref();
    },
    close() {
      for (const response of listeners) response.end();
    },
  };
}

/** A reader that does not keep up is let go; the page comes back by itself. */
function write(response: ServerResponse, text: string): void {
  if (response.writableLength > 1 << 20) response.destroy();
  else response.write(text);
}
