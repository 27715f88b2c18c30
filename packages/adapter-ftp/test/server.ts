/** A small FTP server in the test's process, for the files of a directory: what the adapter asks for, and faults on its data connections. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { lstat, readdir, readlink, stat } from "node:fs/promises";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

export interface FtpServerInit {
  readonly password: string;
  /** Whether it lists for programs. Otherwise it lists as `ls -l` does, and knows MDTM. */
  readonly mlsd: boolean;
}

export interface FtpServer {
  readonly port: number;
  /** Every command that came, without the password. */
  readonly commands: string[];
  /** What happens to the next data connections that carry content. */
  fault: Fault | undefined;
  /** Called before a command is answered. */
  onCommand: ((line: string) => Promise<void>) | undefined;
  /** Connections at once: those beyond are ended without a word. */
  most: number;
  /** Control connections that are open. */
  open(): number;
  close(): Promise<void>;
}

interface Fault {
  /** Bytes that come through before it strikes. */
  readonly after: number;
  /**
   * `cut`: the data ends, and the server says that this went wrong; `lie`: … that all is well; `drop`: both connections end; `stall`:
   * nothing more comes; `meanwhile`: something happens, and the rest comes.
   */
  readonly how: "cut" | "lie" | "drop" | "stall" | "meanwhile";
  readonly meanwhile?: () => Promise<void>;
}

export async function startFtpServer(init: FtpServerInit): Promise<FtpServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= running.most) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // A client may leave at any moment.
    serve(socket, init, running).catch(() => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const running: FtpServer = {
    port: (server.address() as AddressInfo).port,
    commands: [],
    fault: undefined,
    onCommand: undefined,
    most: Infinity,
    open: () => sockets.size,
    async close() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return running;
}

async function serve(socket: Socket, init: FtpServerInit, server: FtpServer): Promise<void> {
  socket.on("error", () => {});
  socket.setNoDelay(true);
  const reply = (text: string) => socket.write(`${text}\r\n`, "utf8");
  let here = "/";
  let offset = 0;
  let passive: Server | undefined;
  let incoming: Promise<unknown[]> = Promise.resolve([]);
  const at = (argument: string) => (argument.startsWith("/") ? argument : join(here, argument));

  async function send(
    content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    fault?: Fault,
  ): Promise<void> {
    const [data] = (await incoming) as [Socket];
    passive?.close();
    reply("150 here it comes");
    let sent = 0;
    for await (const chunk of content) {
      if (fault !== undefined && sent + chunk.length > fault.after && sent <= fault.after) {
        data.write(chunk.subarray(0, fault.after - sent));
        if (fault.how === "stall") return;
        if (fault.how === "meanwhile") {
          await fault.meanwhile?.();
          data.write(chunk.subarray(fault.after - sent));
          sent += chunk.length;
          continue;
        }
        data.end();
        await once(data, "close");
        if (fault.how === "drop") socket.destroy();
        else reply(fault.how === "lie" ? "226 done" : "426 it broke");
        return;
      }
      sent += chunk.length;
      if (data.destroyed) break;
      if (!data.write(chunk)) await Promise.race([once(data, "drain"), once(data, "close")]);
    }
    const broken = data.destroyed;
    data.end();
    reply(broken ? "426 you hung up" : "226 done");
  }

  async function openPassive(): Promise<number> {
    passive?.close();
    const opened = createServer((data) => data.on("error", () => {})).listen(0, "127.0.0.1");
    passive = opened;
    incoming = once(opened, "connection");
    await once(opened, "listening");
    return (opened.address() as AddressInfo).port;
  }

  async function answer(command: string, argument: string): Promise<unknown> {
    switch (command) {
      case "USER":
        return reply("331 and the password?");
      case "PASS":
        return reply(argument === init.password ? "230 welcome" : "530 no");
      case "FEAT":
        return reply(
          [
            "211-features",
            ...(init.mlsd ? [" MLST size*;modify*;"] : []),
            " MDTM",
            " SIZE",
            " UTF8",
            " REST STREAM",
            "211 end",
          ].join("\r\n"),
        );
      case "OPTS":
      case "TYPE":
        return reply("200 yes");
      case "PWD":
        return reply('257 "/" is where you are');
      case "CWD": {
        if (!(await stat(at(argument))).isDirectory()) throw new Error("no directory");
        here = at(argument);
        return reply("250 yes");
      }
      case "EPSV":
        return reply(`229 there (|||${await openPassive()}|)`);
      case "REST":
        offset = Number(argument);
        return reply("350 go on");
      case "SIZE": {
        const stats = await stat(at(argument));
        if (!stats.isFile()) throw new Error("no file");
        return reply(`213 ${stats.size}`);
      }
      case "MDTM":
        return reply(`213 ${timeOf((await stat(at(argument))).mtimeMs)}`);
      case "MLSD":
      case "LIST":
        // Before a connection waits for it.
        return send([await listing(here, command === "MLSD")]);
      case "RETR": {
        const [start, fault] = [offset, server.fault];
        offset = 0;
        if (!(await stat(at(argument))).isFile()) throw new Error("no file");
        return send(createReadStream(at(argument), { start }), fault);
      }
      default:
        return reply("500 what?");
    }
  }

  reply("220 ready");
  socket.setEncoding("utf8");
  // Nobody comes any more to a port that was asked for ahead.
  socket.on("close", () => passive?.close());
  for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
    const [, command = "", argument = ""] = /^(\S+) ?(.*)$/s.exec(line) ?? [];
    server.commands.push(command === "PASS" ? command : line);
    await server.onCommand?.(line);
    await answer(command.toUpperCase(), argument).catch(() => reply("550 no"));
  }
}

async function listing(directory: string, mlsd: boolean): Promise<Buffer> {
  const lines: string[] = [];
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const stats = await lstat(path);
    const mode = stats.mode & 0o777;
    if (mlsd) {
      const link = stats.isSymbolicLink() ? `OS.unix=slink:${await readlink(path)}` : "file";
      const type = stats.isDirectory() ? "dir" : link;
      lines.push(
        `type=${type};size=${stats.size};modify=${timeOf(stats.mtimeMs)};UNIX.mode=0${mode.toString(8)}; ${name}`,
      );
      continue;
    }
    const kind = stats.isDirectory() ? "d" : stats.isSymbolicLink() ? "l" : "-";
    const bits = [6, 3, 0].map((shift) =>
      [4, 2, 1].map((bit, i) => (((mode >> shift) & bit) !== 0 ? "rwx"[i] : "-")).join(""),
    );
    const arrow = stats.isSymbolicLink() ? ` -> ${await readlink(path)}` : "";
    lines.push(
      `${kind}${bits.join("")}   1 ftp      ftp      ${stats.size} Nov 23 07:45 ${name}${arrow}`,
    );
  }
  if (!mlsd) lines.push("drwxr-xr-x   1 ftp      ftp      0 Nov 23 07:45 .");
  return Buffer.from(lines.map((line) => `${line}\r\n`).join(""));
}

/** `20251123074500`: RFC 3659, 2.3. */
function timeOf(milliseconds: number): string {
  return new Date(Math.floor(milliseconds)).toISOString().replace(/\.\d+Z$|[-:T]/g, "");
}
