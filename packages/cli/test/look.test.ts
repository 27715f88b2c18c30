/** The commands that look at a source, on an adapter that is not ours, and what a mistyped command line is told. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { run } from "./run.ts";

/** A busy machine may take its time. */
const PATIENCE = { timeout: 10_000 };

const SHELF = ["--adapter", "./shelf-adapter.ts"];
const lines = (text: string) => text.trimEnd().split("\n");
/** Without the time that a step took, which is told where it is worth telling. */
const untimed = (text: string) => lines(text).map((line) => line.replace(/ {2}\([\d.]+m?s\)$/, ""));

test("ls prints size, time and path, and nothing that moves a terminal's cursor", async () => {
  const { code, stdout, stderr } = await run(["ls", "shelf://top/", ...SHELF]);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(lines(stdout)).toEqual([
    "           6  2020-09-13 12:26:40  a.txt",
    "           6  -                    docs/b\ufffd[31m.md",
    "        link  -                    latest -> a.txt",
  ]);
});

test("ls --json prints an object a line, filtered", async () => {
  const { stdout } = await run(["ls", "shelf://top/", "--json", "--exclude", "docs"], {
    env: { PANNIER_ADAPTER: "./shelf-adapter.ts" },
  });
  expect(lines(stdout).map((line) => JSON.parse(line) as unknown)).toEqual([
    { kind: "file", path: "a.txt", size: 6, mode: "0644", mtime: "2020-09-13T12:26:40.000Z" },
    { kind: "symlink", path: "latest", target: "a.txt" },
  ]);
});

test("ls tries again where that can help, until it has printed something", async () => {
  const { code, stdout, stderr } = await run(["ls", "shelf://shaky/", ...SHELF]);
  expect(code).toBe(0);
  expect(lines(stdout)).toHaveLength(3);
  expect(stderr).toMatch(
    /^(pannier: warn: list failed and is tried again in .*: the shelf shook.*\n){2}$/,
  );

  const torn = await run(["ls", "shelf://torn/", ...SHELF]);
  expect(torn.code).toBe(5);
  expect(lines(torn.stdout)).toHaveLength(3);
  expect(torn.stderr).toContain("pannier: error: cannot list shelf://torn/: the shelf broke\n");
});

test("a mistyped variable is not ignored without a word", async () => {
  const env = { PANNIER_EXCLUD: "*", PANNIER_SERVICE_HOST: "10.0.0.1" };
  const { code, stderr } = await run(["ls", "shelf://top/", ...SHELF], { env });
  expect(stderr).toBe(
    "pannier: warn: the variable PANNIER_EXCLUD is not known and has no effect. Did you mean PANNIER_EXCLUDE?\n",
  );
  expect(code).toBe(0);
});

test("doctor tries once, and says so where a sync would try again", async () => {
  const { code, stdout } = await run(["doctor", "shelf://shaky/", ...SHELF]);
  expect(code).toBe(5);
  expect(untimed(stdout).at(-1)).toBe(
    "✗ list         the shelf shook. Tried once; a sync tries again",
  );
});

test("ls leaves nothing in the directory for temporary files", async () => {
  const folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
  vi.stubEnv("TMPDIR", folder);
  await run(["ls", "shelf://top/", ...SHELF]);
  vi.unstubAllEnvs();
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});

test("doctor tells each step", async () => {
  const { code, stdout } = await run(["doctor", "shelf://top/?color=green", ...SHELF], {
    env: { PANNIER_USERNAME: "ann" },
  });
  expect(code).toBe(0);
  expect(untimed(stdout)).toEqual([
    "✓ resolve      shelf://top/?color=green is for the shelf adapter",
    "✓ credentials  PANNIER_USERNAME",
    "✓ connect      the server answers; its revision is r1",
    "✓ sign in      the server accepts it",
    "✓ list         3 entries",
    "✓ read         6 B of a.txt",
  ]);
});

test("doctor stops at the step that fails, with its exit code, and never shows the secret", async () => {
  const { code, stdout, stderr } = await run(["doctor", "shelf://ann:hunter22@locked/", ...SHELF]);
  expect(code).toBe(3);
  expect(untimed(stdout).slice(1)).toEqual([
    "✓ credentials  the password in the URL",
    "✓ connect      the server answers",
    "✗ sign in      the shelf does not open with ***. Check PANNIER_PASSWORD",
  ]);
  expect(stderr).toBe("");
});

test.each([
  ["dark", ["✗ connect      nobody is there. Tried once; a sync tries again"]],
  ["keyless", ["✗ sign in      there is no key to be found"]],
  [
    "denied",
    [
      "✓ connect      the server answers",
      "✓ sign in      the server accepts it",
      "✗ list         not for you",
    ],
  ],
  [
    "quiet",
    [
      "✓ connect      the server answers",
      "✓ sign in      the server accepts it",
      "✓ list         3 entries",
      "✓ read         6 B of a.txt",
    ],
  ],
])("doctor ticks what was done, and nothing else: %s", async (host, steps) => {
  const { stdout } = await run(["doctor", `shelf://${host}/`, ...SHELF]);
  expect(untimed(stdout).slice(2)).toEqual(steps);
});

test("doctor --json", async () => {
  const gone = await run(["doctor", "shelf://gone/", "--json", ...SHELF]);
  expect(gone.code).toBe(4);
  expect(JSON.parse(gone.stdout)).toMatchObject({
    ok: false,
    source: "shelf://gone/",
    adapter: "shelf",
    steps: [
      { step: "resolve", ok: true },
      { step: "credentials", ok: true },
      { step: "connect", ok: true },
      { step: "sign in", ok: true },
      { step: "list", ok: true },
      { step: "read", ok: false, detail: "a.txt is gone" },
    ],
    error: { code: "not-found", exitCode: 4, message: "a.txt is gone" },
  });
});

test("doctor names a credentials file that cannot be read, and a source without files is fine", async () => {
  const env = { PANNIER_TOKEN_FILE: "/nowhere/token" };
  const { code, stdout } = await run(["doctor", "shelf://top/", ...SHELF], { env });
  expect(code).toBe(2);
  expect(stdout).toContain(
    "✗ credentials  the credentials file /nowhere/token cannot be read (ENOENT)",
  );
  expect((await run(["doctor", "shelf://empty/", ...SHELF])).stdout).toContain("0 entries");
});

test("doctor --mount tries each source of a mount with the configuration's credentials", async () => {
  const server = createServer((request, response) => {
    const isAnn = request.headers.authorization === `Basic ${btoa("ann:hunter22")}`;
    response.writeHead(isAnn ? 200 : 401, {
      "www-authenticate": "Basic",
      etag: '"1"',
      "content-length": 1,
    });
    response.end(request.method === "HEAD" ? "" : "1");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "password"), "hunter22");
  await mkdir(join(folder, "below"));
  const config = join(folder, "pannier.yaml");
  await writeFile(
    config,
    `mounts:
  - name: site
    target: t
    sources: [below, "http://127.0.0.1:${port}/page.txt"]
    credentials: { username: ann, passwordFile: password }
`,
  );
  const { code, stdout } = await run(["doctor", "--mount=site", `--config=${config}`]);
  const told = untimed(stdout).filter((line) => /^. (resolve|credentials|read)/.test(line));
  expect(told).toEqual([
    expect.stringMatching(/^✓ resolve .*below/),
    "✓ credentials  username of the configuration, passwordFile of the configuration",
    expect.stringMatching(/^✓ resolve .*page.txt/),
    "✓ credentials  username of the configuration, passwordFile of the configuration",
    "✓ read         1 B of page.txt",
  ]);
  expect(code).toBe(0);
  await writeFile(join(folder, "password"), "wrong");
  expect((await run(["doctor", "--mount=site", `--config=${config}`])).code).toBe(3);
  const other = await run(["doctor", "--mount=sites", `--config=${config}`]);
  expect(other.code).toBe(2);
  expect(other.stderr).toContain("Those of the configuration: site");
});

test("doctor gives up in time", async () => {
  const { code, stdout } = await run(["doctor", "shelf://slow/", "--timeout", "50ms", ...SHELF]);
  expect(code).toBe(5);
  expect(stdout).toContain("✗ list         it took longer than 50ms. Allow more with --timeout");
});

test("ls gives up in time, with the source named", async () => {
  const { code, stderr } = await run(["ls", "shelf://slow/", "--timeout", "50ms", ...SHELF]);
  expect(stderr).toBe(
    "pannier: error: cannot list shelf://slow/: it took longer than 50ms. Allow more with --timeout\n",
  );
  expect(code).toBe(5);
});

test("a signal ends a command with the shell's number for it", async () => {
  const signals = new EventEmitter();
  const running = run(["ls", "shelf://slow/", ...SHELF], { signals });
  const waitForListener = () => signals.listenerCount("SIGTERM") > 0;
  await expect.poll(waitForListener, PATIENCE).toBe(true);
  signals.emit("SIGTERM", "SIGTERM");
  expect((await running).code).toBe(143);
});

test("a failure is one line on standard error, and an object with --json", async () => {
  const source = "shelf://ann:hunter22@locked/";
  const said = await run(["ls", "shelf://top/?colour=green", "--json", ...SHELF]);
  expect(said.code).toBe(2);
  expect(said.stderr).toBe(
    'pannier: error: unknown option "colour" of a shelf source. Did you mean "color"?\n',
  );
  expect(JSON.parse(said.stdout)).toEqual({
    error: {
      code: "usage",
      exitCode: 2,
      message: 'unknown option "colour" of a shelf source',
      hint: 'did you mean "color"?',
    },
  });
  for (const level of ["debug", "info"]) {
    const { stdout, stderr } = await run(["doctor", source, "--log-level", level, ...SHELF]);
    expect(stdout + stderr).not.toContain("hunter22");
  }
});

test("only a bug of ours shows where it happened", async () => {
  const { code, stderr } = await run(["doctor", "shelf://broken/", ...SHELF]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^pannier: error: a mistake of the adapter\n.*TypeError[^]*Please report it/,
  );
});

test.each([
  [["synk"], 'unknown command "synk"'],
  [["doctr", "a"], 'unknown command "doctr". Did you mean doctor?'],
  [["ls", "a", "--inclde", "x"], 'unknown option "--inclde". Did you mean --include?'],
  [["ls", "a", "b"], '"ls" takes one argument, not 2. Its form is: pannier ls SOURCE'],
  [["ls"], "no source is given. Name it as SOURCE, or in PANNIER_SOURCE"],
  [["ls", "a", "--timeout", "5"], '--timeout: "5" is not a duration'],
  [["sync", "a", "b", "--max-delete", "101%"], '--max-delete: "101%" is neither a number of files'],
  [["ls", "a", "--timeout"], 'option "--timeout <DURATION>" argument missing'],
  [["help", "synk"], 'unknown command "synk". Did you mean sync?'],
  [["ls", "webdav://host/"], 'no adapter for "webdav://"'],
  [["ls", "x", "--adapter", "no-such-adapter"], 'there is no adapter "no-such-adapter"'],
  [["ls", "x", "--adapter", "./no-such-file.js"], 'there is no adapter "./no-such-file.js"'],
  [["ls", "x", "--adapter", "./run.ts"], '"./run.ts" is not an adapter'],
])("%j", async (args, told) => {
  const { code, stdout, stderr } = await run(args);
  expect(stderr).toContain(`pannier: error: ${told}`);
  expect(lines(stderr)).toHaveLength(1);
  expect(stdout).toBe("");
  expect(code).toBe(2);
});

test.each([
  ["run", ["run"]],
  ["rollback", ["rollback", "site"]],
])("%s does not pass over PANNIER_DRY_RUN", async (name, args) => {
  const { code, stderr } = await run(args, { env: { PANNIER_DRY_RUN: "1" } });
  expect(stderr).toMatch(
    new RegExp(`^pannier: error: PANNIER_DRY_RUN is set, and "${name}" has no dry run`),
  );
  expect(code).toBe(2);
  const off = await run(args, { env: { PANNIER_DRY_RUN: "0" } });
  expect(off.stderr).not.toContain("DRY_RUN");
});

test("help has the flags, their variables and examples", async () => {
  const all = await run(["help"]);
  expect(all.code).toBe(0);
  expect(all.stdout).toContain("PANNIER_MAX_BYTES");
  const one = await run(["help", "ls"]);
  expect(one.code).toBe(0);
  expect(one.stdout).toMatch(/Usage: pannier ls \[FLAGS\] SOURCE[^]*--include <GLOB>[^]*Examples:/);
  expect((await run(["ls", "--help"])).stdout).toBe(one.stdout);
  expect((await run([])).stdout).toBe(all.stdout);
  expect((await run(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
});

test("adapters shows schemes and options, those of a named adapter too", async () => {
  const { stdout } = await run(["adapters", ...SHELF]);
  expect(stdout).toContain(
    [
      "shelf  (./shelf-adapter.ts)  Things on a shelf.",
      "  shelf://",
      "    color=red|green  of the shelf (default: red)",
      "    depth=N          how deep it is",
    ].join("\n"),
  );
  const { adapters } = JSON.parse((await run(["adapters", "--json", ...SHELF])).stdout) as {
    adapters: { name: string }[];
  };
  expect(adapters.at(-1)?.name).toBe("shelf");
});
