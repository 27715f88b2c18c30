/** The helper process from outside, with one that has no libnfs; test/real has the other. */
import { once } from "node:events";
import { lookup } from "node:dns/promises";
import { type AddressInfo, createServer, isIP, type Socket } from "node:net";
import { expect, onTestFinished, test, vi } from "vitest";
import { withFewDescriptors } from "../../../test/support/few-descriptors.ts";
import { createConnection, Unanswered } from "../src/connection.ts";
import { translate } from "../src/errors.ts";
import { NFS } from "../src/ping.ts";
import type { Problem } from "../src/protocol.ts";

const FAKE = new URL("./fake-helper.js", import.meta.url);
const SIGNAL = new AbortController().signal;

vi.mock("node:dns/promises", async (original) => {
  const dns = await original<typeof import("node:dns/promises")>();
  return { ...dns, lookup: vi.fn<typeof dns.lookup>(dns.lookup) };
});

/** What the name of every host leads to, until the test ends. */
function resolveTo(...addresses: string[]): void {
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  vi.mocked(lookup).mockResolvedValue(found as never);
  onTestFinished(() => void vi.mocked(lookup).mockReset());
}

/** Answers the ping as a server of NFS does, or as `reply` says. */
async function startServer(reply: (call: Buffer) => Buffer | undefined = accepted) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (call: Buffer) => {
      const answer = reply(call);
      if (answer !== undefined) socket.write(answer);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

function accepted(call: Buffer, state = 0): Buffer {
  const reply = Buffer.alloc(28);
  reply.writeUInt32BE(0x8000_0000 + 24, 0);
  call.copy(reply, 4, 4, 8);
  reply.writeUInt32BE(1, 8);
  reply.writeUInt32BE(state, 24);
  return reply;
}

function connectTo(port: number, idleTimeout = 5000, patience = 5000, helper = FAKE) {
  const pingTarget = {
    host: "127.0.0.1",
    port,
    program: NFS.program,
    version: 4,
    idleTimeout,
  };
  const connection = createConnection({
    start: { server: "127.0.0.1", port, version: 4, path: "/", idleTimeout },
    pingTarget,
    helper,
    patience,
  });
  onTestFinished(() => connection.close());
  const ask = async (path: string, signal = SIGNAL) =>
    Buffer.from((await connection.ask({ ask: "list", path, most: 10 }, signal)).bytes).toString();
  return { ask, close: () => connection.close() };
}

test.each([
  ["crash", "the helper process of libnfs ended (SIGSEGV)"],
  ["exit", "the helper process of libnfs ended (exit code 3)"],
])("a helper that ends (%s) costs what was under way, and is replaced", async (how, message) => {
  const { ask } = connectTo(await startServer());
  const before = await ask("pid");
  expect(await ask("pid")).toBe(before);
  const other = ask("never").catch((error: unknown) => error);
  await expect(ask(how)).rejects.toMatchObject({ code: "unavailable", transient: true, message });
  expect(await other).toMatchObject({ code: "unavailable", transient: true, message });
  expect(await ask("pid")).not.toBe(before);
});

test("a helper that cannot be started for want of descriptors is started as soon as there are some", async () => {
  const port = await startServer();
  const told = await withFewDescriptors(`
    const { createConnection } = await import("${new URL("../src/connection.ts", import.meta.url)}");
    const connection = createConnection({
      start: { server: "127.0.0.1", port: ${port}, version: 4, path: "/", idleTimeout: 5000 },
      pingTarget: { host: "127.0.0.1", port: ${port}, program: ${NFS.program}, version: 4, idleTimeout: 5000 },
      helper: new URL("${FAKE}"),
    });
    const { signal } = new AbortController();
    const ask = () => connection.ask({ ask: "list", path: "pid", most: 10 }, signal);
    // Enough for the ping.
    const give = takeDescriptors({ but: 3 });
    const error = await ask().catch((error) => error);
    give();
    console.log(error.code, error.message, Number(Buffer.from((await ask()).bytes)) > 0);
    connection.close();`);
  expect(told).toBe("unavailable the helper process of libnfs could not be started (EMFILE) true");
});

test("a helper that gives no sign of life is ended, and replaced", async () => {
  const { ask } = connectTo(await startServer(), 1000, 500);
  const before = await ask("pid");
  await expect(ask("never")).rejects.toMatchObject({
    code: "unavailable",
    transient: true,
    message: "the helper process of libnfs gave no sign of life",
  });
  expect(await ask("pid")).not.toBe(before);
});

test("one who waits no longer ends the waiting alone", async () => {
  const { ask } = connectTo(await startServer());
  const before = await ask("pid");
  const abort = new AbortController();
  const asking = ask("never", abort.signal);
  const reason = new Error("stopped by the test");
  setTimeout(() => abort.abort(reason), 20);
  await expect(asking).rejects.toBe(reason);
  expect(await ask("pid")).toBe(before);
});

test("one who leaves at any moment leaves nothing behind that is asked", async () => {
  const { ask } = connectTo(await startServer());
  await ask("pid");
  for (let ticks = 0; ticks < 20; ticks++) {
    const abort = new AbortController();
    const asking = ask("never", abort.signal).catch(() => {});
    for (let i = 0; i < ticks; i++) await undefined;
    abort.abort();
    await asking;
  }
  expect(await ask("owed")).toBe("0");
});

test("of a host's addresses the first is taken that a server answers at", async () => {
  const { ask } = connectTo(await startServer());
  resolveTo("::1", "127.0.0.1");
  expect(await ask("server")).toBe("127.0.0.1");
});

test("a host that has another address after a connection broke is read from there", async () => {
  const { ask } = connectTo(await startServer());
  resolveTo("127.0.0.1");
  const before = await ask("pid");
  expect(await ask("server")).toBe("127.0.0.1");
  resolveTo("127.1");
  expect(await ask("server")).toBe("127.0.0.1");
  await expect(ask("break")).rejects.toBeInstanceOf(Unanswered);
  // The same, in other words.
  expect(await ask("server")).toBe("127.1");
  expect(await ask("pid")).not.toBe(before);
});

test("more questions than connections are all answered", async () => {
  const { ask } = connectTo(await startServer());
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask("pid")));
  expect(new Set(answers).size).toBe(1);
});

test("closing ends the helper, and who waits is told", async () => {
  const { ask, close } = connectTo(await startServer());
  const pid = Number(await ask("pid"));
  const asking = ask("never").catch((error: unknown) => error);
  await ask("pid");
  close();
  expect(await asking).toMatchObject({ message: "the source was closed" });
  await expect(ask("pid")).rejects.toMatchObject({ message: "the source was closed" });
  await expect.poll(() => isRunning(pid)).toBe(false);
});

test("the helper gets no secrets of the environment", async () => {
  process.env["PANNIER_PASSWORD"] = "secret";
  onTestFinished(() => void delete process.env["PANNIER_PASSWORD"]);
  const { ask } = connectTo(await startServer());
  const names = (await ask("environment")).split(",");
  expect(names).toContain("PATH");
  expect(names).not.toContain("PANNIER_PASSWORD");
});

test("without the library, the message names its packages", async () => {
  const { ask } = connectTo(await startServer());
  const { problem } = (await ask("no library").catch((error: unknown) => error)) as {
    problem: Problem;
  };
  expect(translate(problem, "")).toMatchObject({
    code: "unsupported",
    message: "NFS needs the library libnfs, which cannot be loaded",
    hint: expect.stringMatching(/libnfs13 \(Debian 12\).* libnfs \(Alpine, /),
  });
});

test("without koffi, the message names that", async () => {
  const port = await startServer();
  const { ask } = connectTo(port, 5000, 5000, new URL("./no-koffi-helper.js", import.meta.url));
  const { problem } = (await ask("").catch((error: unknown) => error)) as { problem: Problem };
  expect(translate(problem, "")).toMatchObject({
    code: "unsupported",
    message: expect.stringContaining("koffi"),
    hint: "install koffi together with its optional dependencies",
  });
});

test("a server of another protocol, or version, is told before anything is started", async () => {
  for (const text of ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 ready\r\n"]) {
    const port = await startServer(() => Buffer.from(text));
    await expect(connectTo(port).ask("pid")).rejects.toMatchObject({
      code: "unavailable",
      transient: false,
      message: "the server does not speak NFS",
    });
  }
  const PROG_UNAVAIL = 1;
  const PROG_MISMATCH = 2;
  const other = await startServer((call) => accepted(call, PROG_UNAVAIL));
  await expect(connectTo(other).ask("pid")).rejects.toMatchObject({
    message: "the server does not speak NFS",
  });
  const old = await startServer((call) => accepted(call, PROG_MISMATCH));
  await expect(connectTo(old).ask("pid")).rejects.toMatchObject({
    code: "unsupported",
    message: "the server does not speak version 4 of NFS",
    hint: "try ?version=3",
  });
});

test("a server that says nothing is given up after the idle timeout", async () => {
  const { ask } = connectTo(await startServer(() => undefined), 100);
  await expect(ask("pid")).rejects.toMatchObject({
    code: "unavailable",
    transient: true,
    message: "the server did not answer in time",
  });
});

test("who leaves a silent server leaves nothing for the next one to wait for", async () => {
  let silent = true;
  const { ask } = connectTo(await startServer((call) => (silent ? undefined : accepted(call))));
  const abort = new AbortController();
  const asking = ask("pid", abort.signal);
  const reason = new Error("stopped by the test");
  setTimeout(() => abort.abort(reason), 200);
  await expect(asking).rejects.toBe(reason);
  silent = false;
  expect(await ask("pid")).toMatch(/^\d+$/);
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
