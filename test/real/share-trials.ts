/** What every server of files is put through, whatever it speaks: kills, stops, many names, a large file, one that grows. */
import type { ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  open,
  readFile,
  rm,
  stat,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { listAll, openSource } from "@pannier/adapter-kit";
import {
  type Credentials,
  type SourceError,
  type SourceSpec,
  sync,
  type SyncOptions,
} from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { end, listening, signalTree } from "./servers/process.ts";

export interface ShareServer {
  /** Where its files are on this machine. */
  readonly root: string;
  readonly port: number;
  /** Starts one more on a port, with the same files. */
  readonly start: (port: number) => Promise<ChildProcess>;
  /** A directory below {@link ShareServer.root} as a source. */
  readonly source: (directory: string, port: number) => SourceSpec;
  readonly credentials: Credentials;
}

const FULL = process.env["PANNIER_SCALE"] === "full";
const MiB = 2 ** 20;
/** Above what is fetched in parts. */
const LARGE = FULL ? 2048 * MiB : 160 * MiB;
const IDLE = 500;

/** Kills a server when the first bytes come, and starts it again. */
function killedAtFirst(server: Awaited<ReturnType<typeof ownServer>>) {
  let killed: Promise<void> | undefined;
  return {
    onBytes: () => {
      killed ??= (async () => {
        server.signal("SIGKILL");
        await sleep(300);
        await server.restart();
      })();
    },
    async restarted() {
      expect(killed, "it was killed").toBeDefined();
      await killed;
    },
  };
}

export function shareTrials(share: ShareServer): void {
  test("a server that is killed in the middle of a read and started again", async () => {
    const { directory, target } = await folders(share);
    await makeLarge(join(directory, "large"), 96 * MiB);
    const server = await ownServer(share);
    const { onBytes, restarted } = killedAtFirst(server);
    await run(share, directory, target, { port: server.port, onBytes });
    await restarted();
    expect(await digest(join(target, "current/large"))).toBe(
      await digest(join(directory, "large")),
    );
  });

  test("a server that is killed while small files come, and started again", async () => {
    const { directory, target } = await folders(share);
    const files = new Map(
      Array.from({ length: 3000 }, (_, i) => [`file ${i}`, randomBytes(5000 + i).toString("hex")]),
    );
    for (const [name, content] of files) await writeFile(join(directory, name), content);
    const server = await ownServer(share);
    const { onBytes, restarted } = killedAtFirst(server);
    const outcome = await run(share, directory, target, { port: server.port, onBytes });
    await restarted();
    expect(outcome).toMatchObject({ result: "published", files: files.size });
    for (const [name, content] of files)
      expect(await readFile(join(target, "current", name), "utf8"), name).toBe(content);
  });

  test("a server that is stopped for longer than the timeout", async () => {
    const { directory, target } = await folders(share);
    await makeLarge(join(directory, "large"), 96 * MiB);
    const server = await ownServer(share);
    let stopped: Promise<void> | undefined;
    await run(share, directory, target, {
      port: server.port,
      onBytes: () => {
        stopped ??= (async () => {
          server.signal("SIGSTOP");
          await sleep(3 * IDLE);
          server.signal("SIGCONT");
        })();
      },
    });
    expect(stopped, "it was stopped").toBeDefined();
    await stopped;
    expect(await digest(join(target, "current/large"))).toBe(
      await digest(join(directory, "large")),
    );
  });

  test("3,000 entries in one directory", async () => {
    const { directory, target } = await folders(share);
    await mkdir(join(directory, "many"));
    const names = Array.from({ length: 3000 }, (_, i) => `file ${i}.txt`);
    for (const name of names) await writeFile(join(directory, "many", name), name);
    const first = await run(share, directory, target);
    expect(first).toMatchObject({ result: "published", files: 3000, added: 3000 });
    expect(await digest(join(target, "current/many/file 2999.txt"))).toBe(
      await digest(join(directory, "many/file 2999.txt")),
    );
    await settle();
    // Those that were written in the second of the first listing are read once more, and are the same.
    await run(share, directory, target);
    expect(await run(share, directory, target)).toMatchObject({ result: "unchanged", received: 0 });
  });

  test("content that changed and left size and time as they were is noticed where all is read", async () => {
    const { directory, target } = await folders(share);
    const file = join(directory, "file");
    const put = async (text: string) => {
      await writeFile(file, text);
      await utimes(file, 1_700_000_000, 1_700_000_000);
    };
    await put("one");
    await run(share, directory, target);
    await put("two");
    expect(await run(share, directory, target)).toMatchObject({ result: "unchanged" });
    const verified = await run(share, directory, target, { verifyContent: true });
    expect(verified).toMatchObject({ result: "published", changed: 1 });
    expect(await readFile(join(target, "current/file"), "utf8")).toBe("two");
  });

  test(`a file of ${LARGE / MiB} MiB`, { timeout: FULL ? 600_000 : 120_000 }, async () => {
    const { directory, target } = await folders(share);
    await makeLarge(join(directory, "large"), LARGE);
    await run(share, directory, target, { idleTimeout: 30_000 });
    expect((await stat(join(target, "current/large"))).size).toBe(LARGE);
    expect(await digest(join(target, "current/large"))).toBe(
      await digest(join(directory, "large")),
    );
  });

  test("a file that grows while it is read is read again, never half and half", async () => {
    const { directory, target } = await folders(share);
    const file = join(directory, "log");
    await makeLarge(file, 24 * MiB);
    let growing = true;
    const writer = (async () => {
      for (let i = 0; i < 20; i++) {
        await appendFile(file, randomBytes(10_000));
        await sleep(40);
      }
      growing = false;
    })();
    const outcomes: (string | Error)[] = [];
    // What is published is one of the file's states: a beginning of what it is in the end.
    for (let done = false; !done;) {
      done = !growing;
      const outcome = await run(share, directory, target).then(
        () => "published",
        (error: Error) => (error.cause as SourceError | undefined)?.code ?? error,
      );
      outcomes.push(outcome);
      if (outcome !== "published") continue;
      const { size } = await stat(join(target, "current/log"));
      expect(await digest(join(target, "current/log"))).toBe(await digest(file, size));
    }
    await writer;
    expect(outcomes.filter((one) => one !== "published" && one !== "changed")).toEqual([]);
    expect((await stat(join(target, "current/log"))).size).toBe((await stat(file)).size);
  });

  test("a source that is opened and closed leaves no connection to the server", async () => {
    const { directory } = await folders(share);
    await writeFile(join(directory, "file"), "x");
    const opened = await openSource(share.source(directory, share.port), {
      credentials: share.credentials,
    });
    expect((await listAll(opened.source)).paths).toEqual(["file"]);
    expect(await connectionsTo(share.port)).toBeGreaterThan(0);
    await opened.close();
    for (let i = 0; i < 100 && (await connectionsTo(share.port)) > 0; i++) await sleep(20);
    expect(await connectionsTo(share.port)).toBe(0);
  });
}

interface RunOptions extends Partial<SyncOptions> {
  readonly port?: number;
  /** Called when content begins to come. */
  readonly onBytes?: () => void;
}

function run(share: ShareServer, directory: string, target: string, options: RunOptions = {}) {
  const { port = share.port, onBytes, ...rest } = options;
  return sync({
    sources: [share.source(directory, port)],
    target,
    credentials: share.credentials,
    idleTimeout: IDLE * (onBytes === undefined ? 10 : 1),
    attempts: 12,
    onEvent: (event) => {
      if (event.type === "progress" && event.bytes > MiB) onBytes?.();
    },
    ...rest,
  });
}

/** A server of the test's own, for it to harm. */
async function ownServer({ start }: ShareServer) {
  const { child, ports } = await listening("a server", 1, ([port]) => start(port as number));
  const [port] = ports as [number];
  let current = child;
  onTestFinished(() => end(current));
  return {
    port,
    signal: (signal: NodeJS.Signals) => signalTree(current.pid as number, signal),
    async restart() {
      current = await start(port);
    },
  };
}

async function folders({ root }: ShareServer) {
  const directory = await mkdtemp(join(root, "trial-"));
  await chmod(directory, 0o755);
  const target = await mkdtemp(join(tmpdir(), "pannier-trial-"));
  onTestFinished(async () => {
    await rm(directory, { recursive: true });
    await rm(target, { recursive: true });
  });
  return { directory, target };
}

/** Mostly holes, so that it is made quickly, with noise where the parts of a download meet. */
async function makeLarge(path: string, size: number): Promise<void> {
  const file = await open(path, "w", 0o644);
  await file.truncate(size);
  for (let at = 0; at < size; at += 8 * MiB) {
    await file.write(randomBytes(100_000), 0, 100_000, Math.max(0, at - 50_000));
  }
  await file.write(randomBytes(1000), 0, 1000, size - 1000);
  await file.close();
}

/** Of the first bytes, or of all. */
async function digest(path: string, size?: number): Promise<string> {
  const hash = createHash("sha256");
  if (size === 0) return hash.digest("hex");
  const stream = createReadStream(path, size === undefined ? {} : { end: size - 1 });
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Until what was written is older than the tick of the coarsest clock. */
function settle(): Promise<void> {
  return sleep(2500);
}

/** How many connections on this machine are made to a port: proc_net_tcp in the kernel's documentation. */
async function connectionsTo(port: number): Promise<number> {
  const lines = (await readFile("/proc/net/tcp", "utf8")).split("\n");
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const ESTABLISHED = "01";
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , address, state]) => address?.endsWith(remote) === true && state === ESTABLISHED)
    .length;
}
