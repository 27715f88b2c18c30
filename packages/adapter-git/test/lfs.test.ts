import { createHash } from "node:crypto";
import { buffer } from "node:stream/consumers";
import { listAll, readAll } from "@pannier/adapter-kit";
import { describe, expect, test } from "vitest";
import { basic, contentOf, errorOf, open, setup, signal, skipped, withoutGit } from "./setup.ts";

const shared = setup();

const CONTENT = "a large picture\n".repeat(1000);
const OID = createHash("sha256").update(CONTENT).digest("hex");
const DIGEST = { algorithm: "sha256", value: OID };
const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${OID}\nsize ${CONTENT.length}\n`;

describe.skipIf(withoutGit)(`lfs${skipped}`, () => {
  test("files come from the LFS server, several by one request, with its digest", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({
      "a.png": POINTER,
      "b/c.png": POINTER,
      "d.txt": "plain",
    });
    shared.server.allowed = [basic("ada", "swordfish")];
    const asked: string[] = [];
    shared.server.intercept = (request, response) => {
      const url = request.url ?? "";
      if (url.endsWith(".git/info/lfs/objects/batch")) {
        if (request.headers.authorization !== basic("ada", "swordfish")) {
          response.writeHead(401).end();
          return true;
        }
        void buffer(request).then((body) => {
          const { operation, objects } = JSON.parse(body.toString()) as {
            operation: string;
            objects: { oid: string; size: number }[];
          };
          asked.push(`${operation} ${objects.length}`);
          const header = { authorization: "Bearer of-the-lfs-server" };
          const actions = { download: { href: `${shared.server.url}/lfs/${OID}`, header } };
          return response.end(
            JSON.stringify({ objects: objects.map((object) => ({ ...object, actions })) }),
          );
        });
        return true;
      }
      if (!url.startsWith("/lfs/")) return false;
      const genuine = request.headers.authorization === "Bearer of-the-lfs-server";
      response.writeHead(genuine ? 200 : 403).end(CONTENT);
      return true;
    };
    const credentials = { username: "ada", password: "swordfish" };
    const { source } = await open(repository.url, { engine: "cli", lfs: true }, { credentials });
    const listed = await listAll(source);
    expect(listed.file("a.png")).toMatchObject({ size: CONTENT.length, digest: DIGEST });
    expect(await contentOf(source)).toEqual({
      "a.png": CONTENT,
      "b/c.png": CONTENT,
      "d.txt": "plain",
    });
    expect(asked).toEqual(["download 2"]);
    expect((await readAll(source, listed.file("a.png"), { offset: 2, length: 5 })).toString()).toBe(
      "large",
    );
    const second = await repository.commit({ "d.txt": POINTER });
    const delta = await source.changes?.(first, second, signal());
    const changes = [];
    for await (const batch of delta?.changes ?? []) changes.push(...batch);
    expect(changes).toMatchObject([{ kind: "put", entry: { path: "d.txt", digest: DIGEST } }]);
  });

  test("without the option the pointer is the content, and a warning says so once", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: POINTER, b: POINTER });
    const { source, warnings } = await open(repository.url);
    expect((await contentOf(source))["a"]).toBe(POINTER);
    expect(warnings).toEqual(["the repository keeps files in Git LFS; lfs=true fetches them"]);
  });

  test.each([
    { oid: OID, error: { code: 404 } },
    { oid: OID, error: null, actions: null },
    { oid: OID, error: null, actions: { download: null } },
  ])("an object that the LFS server does not have is not found: %o", async (object) => {
    const repository = await shared.repository();
    await repository.commit({ a: POINTER });
    shared.server.intercept = (request, response) => {
      if (!(request.url ?? "").includes("/info/lfs/")) return false;
      request.resume();
      response.end(JSON.stringify({ objects: [object] }));
      return true;
    };
    const { source } = await open(repository.url, { lfs: true });
    expect(await errorOf(contentOf(source))).toMatchObject({ code: "not-found" });
  });

  test.each([
    "not JSON",
    '{"objects":[null]}',
    `{"objects":[{"oid":"${OID}","actions":{"download":{"href":"http://%zz/"}}}]}`,
  ])("an answer of the LFS server that makes no sense is invalid: %s", async (answer) => {
    const repository = await shared.repository();
    await repository.commit({ a: POINTER });
    shared.server.intercept = (request, response) => {
      if (!(request.url ?? "").includes("/info/lfs/")) return false;
      request.resume();
      response.end(answer);
      return true;
    };
    const { source } = await open(repository.url, { lfs: true });
    expect(await errorOf(contentOf(source))).toMatchObject({
      name: "SourceError",
      code: "invalid",
    });
  });
});
