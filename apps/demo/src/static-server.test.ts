import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { request, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { listen, makeServer } from "./static-server.ts";

let folder: string;
let server: Server;
let port: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-demo-test-"));
  await writeFile(join(folder, "secret.txt"), "secret");
  for (const revision of ["one", "two"]) {
    await mkdir(join(folder, revision, "docs & <notes>"), { recursive: true });
    await writeFile(join(folder, revision, "index.html"), revision);
    await writeFile(join(folder, revision, "docs & <notes>", "a.bin"), "x");
    await symlink("../secret.txt", join(folder, revision, "out"));
    await symlink("..", join(folder, revision, "up"));
  }
  await symlink("one", join(folder, "current"));
  server = makeServer(join(folder, "current"));
  port = await listen(server, 0);
});

afterEach(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/** The path goes out as it stands: `fetch` would tidy it first. */
function get(path: string, method = "GET") {
  return new Promise<{
    status: number | undefined;
    text: string;
    type: string | undefined;
    location: string | undefined;
  }>((resolve, reject) => {
    const sent = request({ host: "127.0.0.1", port, path, method }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      const { "content-type": type, location } = response.headers;
      response.on("end", () => resolve({ status: response.statusCode, text, type, location }));
    });
    sent.on("error", reject).end();
  });
}

test("files, directories and the revision", async () => {
  expect(await get("/")).toMatchObject({
    status: 200,
    text: "one",
    type: "text/html; charset=utf-8",
  });
  expect(await get("/?x#y")).toMatchObject({ text: "one" });
  expect(await get("/", "HEAD")).toMatchObject({ status: 200, text: "" });
  expect(await get("/-/revision")).toMatchObject({ text: "one" });
  expect(await get("/docs%20%26%20%3Cnotes%3E")).toMatchObject({
    status: 302,
    location: "/docs%20%26%20%3Cnotes%3E/",
  });
  const listing = await get("/docs%20%26%20%3Cnotes%3E/");
  expect(listing.text).toContain('<a href="./a.bin">');
  expect(listing.text).not.toContain("<notes>");
  expect(await get("/nothing")).toMatchObject({ status: 404 });
  expect(await get("/index.html/x")).toMatchObject({ status: 404 });
  expect(await get("/", "POST")).toMatchObject({ status: 405 });
});

test.each([
  "/../secret.txt",
  "/docs/../../secret.txt",
  "/%2e%2e/secret.txt",
  "/..%2fsecret.txt",
  "/out",
  "/up/secret.txt",
  "/up",
  "/%00",
  "/%zz",
  "//../secret.txt",
])("%s does not lead out of the tree", async (path) => {
  const { status, text } = await get(path);
  expect([400, 404]).toContain(status);
  expect(text).not.toContain("secret");
});

test("a redirect never leads to another host", async () => {
  await mkdir(join(folder, "one", "evil.example"));
  expect((await get("//evil.example")).location).toBe("/evil.example/");
});

test("another tree is served as soon as the link leads to it, and none is told as such", async () => {
  await symlink("two", join(folder, "next"));
  await rename(join(folder, "next"), join(folder, "current"));
  expect(await get("/")).toMatchObject({ text: "two" });
  await rm(join(folder, "current"));
  expect(await get("/")).toMatchObject({ status: 503 });
});

test("the next port is taken where one is in use", async () => {
  const other = makeServer(join(folder, "current"));
  expect(await listen(other, port)).toBeGreaterThan(port);
  other.close();
});
