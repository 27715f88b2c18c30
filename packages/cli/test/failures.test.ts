/** What a user is told, and with which exit code, when a source, a password or an option is wrong. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeTar } from "../../adapter-http/test/archives.ts";
import { run } from "./run.ts";

const SECRET = "hunter22-very-secret";
const GOOD = `Basic ${Buffer.from(`ann:${SECRET}`).toString("base64")}`;

let folder: string;
let server: Server;
let address: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
  const tar = await makeTar([
    { name: "a", content: "12345" },
    { name: "b", content: "12345" },
  ]);
  server = createServer(({ url, headers }, response) => {
    const path = url?.split("?")[0] ?? "";
    if (path.startsWith("/private") && headers.authorization !== GOOD)
      response
        .writeHead(401, { "www-authenticate": "Basic" })
        .end(`not you: ${headers.authorization}`);
    else if (path.endsWith(".json")) response.writeHead(200).end("{}");
    else if (path === "/x.tar") response.writeHead(200).end(tar);
    else if (path.startsWith("/stalled"))
      response.writeHead(200, { "content-length": 9 }).flushHeaders();
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

test.each([
  ["a wrong password", "http://ann:HUNTED-wrong@HOST/private/a.json", [], 3],
  ["no password", "http://HOST/private/a.json", [], 3],
  ["a file that is not there", "http://HOST/a.txt", [], 4],
  ["a repository that is not there", "git+http://HOST/a.git", [], 4],
  ["TLS where there is none", "https://HOST/a.json", ["--timeout", "300ms"], 5],
  ["a server that stalls", "http://HOST/stalled.tar", ["--timeout", "300ms"], 5],
  ["nobody at the port", "http://127.0.0.1:1/a.json", ["--timeout", "300ms"], 5],
  ["a wrong checksum", `http://HOST/a.json?checksum=sha256:${"0".repeat(64)}`, [], 6],
  ["an archive of more bytes than allowed", "http://HOST/x.tar", ["--max-bytes", "9"], 7],
  ["an archive of more files than allowed", "http://HOST/x.tar", ["--max-files", "1"], 6],
  ["a larger file in an archive than allowed", "http://HOST/x.tar", ["--max-file-bytes", "4"], 6],
  ["a mistyped option", "http://HOST/a.json?unpak=no", [], 2],
  ["a mistyped scheme", "htps://HOST/a.json", [], 2],
  ["a scheme without an adapter", "swift://container/", [], 2],
  ["no URL", "http://[/", [], 2],
])("%s", async (_, url, flags, expected) => {
  const source = url.replace("HOST", address);
  const { code, stdout, stderr } = await run([
    "sync",
    source,
    join(folder, "out"),
    ...flags,
    "--log-level",
    "error",
  ]);
  expect(stderr).toMatch(/^pannier: [^\n]+\n$/);
  expect(stdout).toBe("");
  expect(code).toBe(expected);
  expect(stderr).not.toContain("HUNTED");
  await expect(readdir(join(folder, "out/current"))).rejects.toThrow("ENOENT");
});

test("the right password, from the URL or from variables, is told to nobody", async () => {
  const credentials = { PANNIER_USERNAME: "ann", PANNIER_PASSWORD: SECRET };
  let said = "";
  for (const [source, env] of [
    [`http://ann:${SECRET}@${address}/private/a.json`, {}],
    [`http://${address}/private/b.json`, credentials],
    [`http://ann:${SECRET}@${address}/private/missing`, {}],
    [`http://ann:${SECRET}@${address}:x/private/missing`, {}],
  ] as const)
    for (const command of ["sync", "plan", "ls", "doctor"]) {
      const target = command === "sync" || command === "plan" ? [join(folder, "secret")] : [];
      for (const flags of [["--json"], ["--log-level", "debug"]]) {
        const { stdout, stderr } = await run([command, source, ...target, ...flags], { env });
        said += stdout + stderr;
      }
    }
  expect(await readFile(join(folder, "secret/current/b.json"), "utf8")).toBe("{}");
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) said += await readFile(join(entry.parentPath, entry.name), "latin1");
  expect(said).toContain("/private/a.json");
  expect(said).not.toContain(SECRET);
  expect(said).not.toContain(GOOD.slice("Basic ".length));
});

test.each(["http://127.0.0.1:1/x.tgz", "http://127.0.0.1:1/dir/", "git+http://127.0.0.1:1/x.git"])(
  "nobody listens at %s: said in plain words",
  async (source) => {
    const { stdout } = await run(["doctor", source]);
    expect(stdout).toMatch(/✗ \w+ +the connection was refused\. Check the host and the port/);
  },
);

test("doctor says which credentials were tried, and what the server thinks of them", async () => {
  const env = { PANNIER_USERNAME: "ann", PANNIER_PASSWORD: "HUNTED-wrong" };
  const { code, stdout } = await run(["doctor", `http://${address}/private/a.json`], { env });
  expect(code).toBe(3);
  // Steps that took long say how long.
  expect(stdout.replaceAll(/ +\(\d+ms\)$/gm, "")).toContain(
    "✓ credentials  PANNIER_USERNAME, PANNIER_PASSWORD\n✓ connect      the server answers\n✗ sign in      the server answered 401 Unauthorized. The user, the password or the token is wrong",
  );
});
