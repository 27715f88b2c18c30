/** The gcs adapter against fake-gcs-server, directly and through the fault proxy. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { gcs as gcsSource, gcsAdapter } from "@pannier/adapter-gcs";
import {
  createFaultProxy,
  describeAdapter,
  type FaultProxy,
  type Harness,
  listAll,
  openSource,
  readAll,
} from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import * as vitest from "vitest";
import { type ApiClient, apiClient } from "../../packages/adapter-gcs/test/api-client.ts";
import { createStore } from "../../packages/adapter-gcs/test/stores.ts";
import { describeFailingLine } from "./object-store.ts";
import { describeWith } from "./support.ts";

const { expect, onTestFinished, test } = vitest;

/** @param port where the adapter finds the server */
function harnessOf(server: ApiClient, port = () => server.port): Harness {
  return {
    adapter: gcsAdapter as never,
    traits: { symlinks: false, modes: "none", network: "http" },
    failures: {
      "not-found": (store) => ({ ...store.source({}), url: "gs://no-such-bucket/" }),
    },
    create: createStore(() => ({ ...server, port: port() }), { options: { anonymous: true } }),
  };
}

describeWith("gcs", "Google Cloud Storage from fake-gcs-server", (gcs) => {
  const client = apiClient(gcs.endpoint);
  const many = apiClient(gcs.many.endpoint);

  vitest.describe("directly", () => describeAdapter(vitest, harnessOf(client)));

  vitest.describe("through the fault proxy", () => {
    let proxy: FaultProxy;
    vitest.beforeAll(async () => {
      proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: gcs.port } });
      await proxy.set({ delay: 1 });
      return () => proxy.close();
    });
    const harness = harnessOf(client, () => proxy.port);
    describeAdapter(vitest, harness, { manyFiles: 300, largeFile: 8 << 20 });
  });

  describeFailingLine(harnessOf(many));

  const source = (path: string, endpoint = gcs.endpoint) =>
    gcsSource(`gs://${path}`, { endpoint, anonymous: true });

  async function open(path: string, endpoint?: string) {
    const opened = await openSource(source(path, endpoint));
    onTestFinished(() => opened.close());
    return opened;
  }

  async function fill(bucket: string, keys: Iterable<string>, into = client): Promise<void> {
    await into.createBucket(bucket);
    const left = keys[Symbol.iterator]();
    const worker = async () => {
      for (let next = left.next(); next.done !== true; next = left.next()) {
        await into.put(bucket, next.value, `content of ${next.value}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
  }

  test("a poll with a marker is one question of the SDK's", async () => {
    const { signal } = new AbortController();
    await fill("marked", ["site/a", "site/the marker, ü%2F#"]);
    const marked = gcsSource("gs://marked/site/", {
      endpoint: gcs.endpoint,
      anonymous: true,
      marker: "the marker, ü%2F#",
    });
    const { source: opened, requests, close } = await openSource(marked);
    onTestFinished(() => close());
    const first = await opened.probe(signal);
    expect(await opened.probe(signal)).toEqual(first);
    await client.put("marked", "site/the marker, ü%2F#", "2");
    expect((await opened.probe(signal))?.token).not.toBe(first?.token);
    expect(requests).toEqual(["probe", "probe", "probe"]);
  });

  test("5,000 objects come in several pages, in order, each once", async () => {
    const keys = Array.from({ length: 5000 }, (_, i) => `dir-${i % 7}/${i}`);
    await fill("pages", keys, many);
    const { source: opened, requests } = await open("pages/", gcs.many.endpoint);
    const { paths } = await listAll(opened);
    expect(paths).toEqual(keys.toSorted());
    expect(requests.length).toBeGreaterThanOrEqual(5);
    expect(requests.length).toBeLessThan(30);
  });

  test("a listing that is cut on its way deletes nothing", async () => {
    await fill(
      "cut",
      Array.from({ length: 2500 }, (_, i) => `file-${i}`),
    );
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: gcs.port } });
    onTestFinished(() => proxy.close());
    const target = await makeTarget();
    const through = source("cut/", `http://127.0.0.1:${proxy.port}`);
    await sync({ sources: [through], target });
    // Within a page; what the engine asks for after that is answered with what ends the sync at once.
    await proxy.set({ cutAfter: 300_000 });
    const cut = sync({ sources: [through], target });
    cut.catch(() => {});
    await vitest.expect.poll(() => proxy.stats.strikes).toBeGreaterThan(0);
    await proxy.set({ http: { status: 403 } });
    await expect(cut).rejects.toThrow(/403/);
    expect(await readdir(join(target, "current"))).toHaveLength(2500);
  });

  test("keys that could leave the target refuse the sync, others come as they are", async () => {
    const odd = [" a ", "tab\t", "\u0001", "%2F", "ü/日本", "x".repeat(200), "a\\b", "-rf"];
    await fill("odd", ["site-old/x", "site//nameless", ...odd.map((key) => `site/${key}`)]);
    await client.put("odd", "site/", "");
    await client.put("odd", "site/empty/", "");
    const { source: opened, warnings } = await open("odd/site/");
    expect((await listAll(opened)).paths.toSorted()).toEqual([...odd, "/nameless"].toSorted());
    expect(warnings).toEqual([]);

    for (const [bucket, key] of [
      ["key-up", "../up"],
      ["key-up-within", "a/../../b"],
      ["key-dot", "a/./b"],
      ["key-absolute", "/etc/passwd"],
    ] as const) {
      await fill(bucket, ["fine", key]);
      const target = await makeTarget();
      await expect(sync({ sources: [source(`${bucket}/`)], target })).rejects.toThrow(key);
      expect(await readdir(target)).not.toContain("current");
    }

    await fill("both", ["a", "a/b"]);
    const target = await makeTarget();
    await expect(sync({ sources: [source("both/")], target })).rejects.toThrow("a/b");
  });

  test("what is stored as gzip is published as it is stored", async () => {
    await client.createBucket("packed");
    const packed = gzipSync("content ".repeat(1000));
    await client.put("packed", "file", packed, "gzip");
    const { source: opened } = await open("packed/");
    const entry = (await listAll(opened)).file("file");
    expect(entry.size).toBe(packed.length);
    const part = await readAll(opened, entry, { offset: 3, length: 9 });
    expect(part.equals(packed.subarray(3, 12))).toBe(true);
    const target = await makeTarget();
    await sync({ sources: [source("packed/")], target });
    const published = await readFile(join(target, "current/file"));
    expect(String(gunzipSync(published))).toBe("content ".repeat(1000));
  });
});

async function makeTarget(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "pannier-gcs-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}
