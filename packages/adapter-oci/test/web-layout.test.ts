/** Layouts that a web server serves. */
import { copyFile, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeAdapter, listAll, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";
import * as vitest from "vitest";
import { expect, onTestFinished, test } from "vitest";
import { oci, ociAdapter } from "../src/index.ts";
import { gzipLayer, membersOf, putImage } from "./images.ts";
import { serveLayouts } from "./layout-server.ts";

const { signal } = new AbortController();
const directory = await mkdtemp(join(tmpdir(), "pannier-web-layout-"));
const server = await serveLayouts(directory);
vitest.afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

let stores = 0;
let clock = Date.UTC(2025, 1, 3);

vitest.describe("a layout on a web server", () => {
  describeAdapter(
    vitest,
    {
      adapter: ociAdapter as never,
      traits: { network: "tcp", integrity: true },
      async create(files) {
        const name = `store ${++stores}`;
        const tree = new Map();
        const change = async (changes: typeof files) => {
          for (const [path, file] of changes) {
            tree.delete(path);
            if (file !== undefined) tree.set(path, file);
          }
          const members = membersOf(tree, new Date((clock += 60_000)));
          const url = `oci+file://${directory}/${encodeURIComponent(name)}:live`;
          await putImage(url, [await gzipLayer(members)]);
        };
        await change(files);
        return {
          source: ({ directory: path, port = server.port }) => ({
            url: `oci+https://127.0.0.1:${port}/${encodeURIComponent(name)}:live`,
            options: { path },
            credentials: { caFile: server.caFile },
          }),
          change,
          server: { host: "127.0.0.1", port: server.port },
          close: async () => {},
        };
      },
      failures: {
        auth: (store) => {
          const address = store.source({});
          return { ...address, url: address.url.replace("store", "locked") };
        },
        "not-found": (store) => {
          const address = store.source({});
          return { ...address, url: address.url.replace("store", "none") };
        },
      },
    },
    { largeFile: 8 << 20 },
  );
});

async function open(name: string, credentials: Credentials = {}) {
  const opened = await openSource(oci(`oci+https://127.0.0.1:${server.port}/${name}`), {
    credentials: { caFile: server.caFile, ...credentials },
  });
  onTestFinished(() => opened.close());
  return opened.source;
}

test("a poll asks whether there is another index, and is answered without a body", async () => {
  await putImage(`oci+file://${directory}/poll:v1`, [
    await gzipLayer([{ name: "a", content: "1" }]),
  ]);
  const source = await open("poll:v1");
  const before = await source.probe(signal);
  server.log.length = 0;
  expect(await source.probe(signal)).toEqual(before);
  expect(server.log).toEqual([{ path: "/poll/index.json", status: 304, bytes: 0 }]);
  await putImage(`oci+file://${directory}/poll:v1`, [
    await gzipLayer([{ name: "a", content: "2" }]),
  ]);
  expect((await source.probe(signal))?.token).not.toBe(before?.token);
});

test("the highest tag of a range, signed in, and from a server that knows no ranges", async () => {
  for (const tag of ["1.0.0", "1.2.0", "2.0.0"])
    await putImage(`oci+file://${directory}/tags:${tag}`, [
      await gzipLayer([{ name: "version", content: tag }]),
    ]);
  server.ranges = false;
  server.authorization = `Basic ${Buffer.from("ada:secret").toString("base64")}`;
  onTestFinished(() => {
    server.ranges = true;
    server.authorization = undefined;
  });
  await expect(listAll(await open("tags?semver=1"))).rejects.toMatchObject({ code: "auth" });
  const source = await open("tags?semver=1", { username: "ada", password: "secret" });
  const listed = await listAll(source);
  expect(String(await readAll(source, listed.file("version")))).toBe("1.2.0");
  expect(await source.identity?.(signal)).toBe("the credentials given to Pannier");
});

test("a blob that is another's is refused, and so is what is no layout", async () => {
  await putImage(`oci+file://${directory}/bad:v1`, [
    await gzipLayer([{ name: "a", content: "1" }]),
  ]);
  const blobs = join(directory, "bad/blobs/sha256");
  const [one = "", ...others] = await readdir(blobs);
  for (const other of others) await copyFile(join(blobs, one), join(blobs, other));
  await expect(listAll(await open("bad:v1"))).rejects.toMatchObject({ code: "invalid" });
  await writeFile(join(directory, "bad/index.json"), "{}");
  await expect(listAll(await open("bad:v1"))).rejects.toMatchObject({ code: "invalid" });
});
