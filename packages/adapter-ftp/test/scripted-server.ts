/** An FTP server that answers as a test tells it to, however wrong that is. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setImmediate as turn } from "node:timers/promises";
import { onTestFinished } from "vitest";

/** What a command is answered with: a reply; data; or whatever is done with the sockets. */
export type Answer =
  | string
  | { readonly data: string | Iterable<string> }
  | { readonly do: (control: Socket, data: Promise<Socket>) => unknown };

/** By the command's first word, or the whole line; a function is given the argument. */
export type Script = Readonly<Record<string, Answer | ((argument: string) => Answer)>>;

/** Of a server of a directory with one file `a.txt`, which holds "hello\n". */
const ORDINARY: Script = {
  USER: "331 password",
  PASS: "230 in",
  FEAT: "211-F\r\n MLST type*;size*;modify*;\r\n MDTM\r\n SIZE\r\n REST STREAM\r\n211 end",
  TYPE: "200 ok",
  OPTS: "200 ok",
  PWD: '257 "/"',
  CWD: (path) => (/^\/+$/.test(path) ? "250 ok" : "550 no"),
  SIZE: "213 6",
  MDTM: "213 20260101000000",
  REST: "350 go on",
  RETR: { data: "hello\n" },
  MLSD: { data: "type=file;size=6;modify=20260101000000; a.txt\r\n" },
  LIST: { data: "-rw-r--r--   1 u g 6 Jan 01  2026 a.txt\r\n" },
  MLST: "250-facts\r\n type=file;size=6;modify=20260101000000; /a.txt\r\n250 end",
};

export interface ScriptedServer {
  readonly port: number;
  /** Every command that came. */
  readonly commands: string[];
  /** Control connections that are open. */
  open(): number;
}

/**
 * Starts it for the time of the test.
 *
 * @param inBytes writes replies one byte in a packet
 */
export async function startScripted(changes: Script, inBytes = false): Promise<ScriptedServer> {
  const script: Script = { ...ORDINARY, ...changes };
  const commands: string[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  };
  let open = 0;
  const server = createServer((control) => {
    open++;
    control.on("close", () => open--);
    keep(control);
    serve(control).catch(() => {});
  });

  async function serve(control: Socket): Promise<void> {
    let data = Promise.withResolvers<Socket>();
    if (inBytes) writeInBytes(control);
    control.write("220 ready\r\n");
    for await (const line of createInterface({ input: control, crlfDelay: Infinity })) {
      commands.push(line);
      const [, verb = "", argument = ""] = /^(\S+) ?(.*)$/s.exec(line) ?? [];
      if (
        (verb === "EPSV" && script["EPSV"] === undefined) ||
        (verb === "PASV" && script["PASV"] === undefined)
      ) {
        const waiting = (data = Promise.withResolvers<Socket>());
        const passive = createServer((socket) => {
          keep(socket);
          passive.close();
          waiting.resolve(socket);
        }).listen(0, "127.0.0.1");
        await once(passive, "listening");
        const { port } = passive.address() as AddressInfo;
        control.write(
          verb === "EPSV"
            ? `229 ok (|||${port}|)\r\n`
            : `227 ok (10,1,2,3,${port >> 8},${port & 255})\r\n`,
        );
        continue;
      }
      const found = script[line] ?? script[verb] ?? "502 no";
      const answer = typeof found === "function" ? found(argument) : found;
      if (typeof answer === "string") control.write(`${answer}\r\n`);
      else if ("do" in answer) Promise.resolve(answer.do(control, data.promise)).catch(() => {});
      else await sendData(control, await data.promise, answer.data);
    }
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  return { port: (server.address() as AddressInfo).port, commands, open: () => open };
}

async function sendData(
  control: Socket,
  data: Socket,
  content: string | Iterable<string>,
): Promise<void> {
  control.write("150 here\r\n");
  for (const part of typeof content === "string" ? [content] : content) {
    if (data.destroyed) break;
    if (!data.write(part, "latin1")) {
      await Promise.race([once(data, "drain"), once(data, "close")]);
      await turn();
    }
  }
  data.end();
  if (!data.destroyed) await once(data, "close");
  control.write("226 done\r\n");
}

function writeInBytes(socket: Socket): void {
  const write = socket.write.bind(socket) as (text: string) => boolean;
  const queue: string[] = [];
  let busy = false;
  const drain = async () => {
    if (busy) return;
    busy = true;
    for (let text = queue.shift(); text !== undefined; text = queue.shift()) {
      for (const byte of text) {
        write(byte);
        await turn();
        await turn();
      }
    }
    busy = false;
  };
  socket.setNoDelay(true);
  socket.write = (text: unknown) => {
    queue.push(String(text));
    void drain();
    return true;
  };
}
