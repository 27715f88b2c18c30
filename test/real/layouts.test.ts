/** Image layouts in buckets and on WebDAV: pushed to, followed from there, and signed. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { azureAdapter } from "@pannier/adapter-azure";
import { gcsAdapter } from "@pannier/adapter-gcs";
import { createFaultProxy, describeAdapter, listAll } from "@pannier/adapter-kit";
import { ociAdapter } from "@pannier/adapter-oci";
import { s3Adapter } from "@pannier/adapter-s3";
import { webdavAdapter } from "@pannier/adapter-webdav";
import {
  type Adapter,
  type Folder,
  type FolderContext,
  openSource,
  type OptionValues,
  resolveSource,
  type SourceSpec,
} from "@pannier/core";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openAzureFolder } from "../../packages/adapter-azure/src/folder.ts";
import { sdkClient } from "../../packages/adapter-azure/test/sdk-client.ts";
import { apiClient } from "../../packages/adapter-gcs/test/api-client.ts";
import { openS3Folder } from "../../packages/adapter-s3/src/folder.ts";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { filesOf, pushFiles } from "../../packages/artifact/test/trees.ts";
import { runPannier, runPannierOk } from "../support/pannier.ts";
import { imageStores } from "../support/stores.ts";
import type { S3Server } from "./servers/s3.ts";
import type { DavServer } from "./servers/webdav.ts";
import { describeWith } from "./support.ts";

const execute = promisify(execFile);
const { signal } = new AbortController();

const sized = (count: number) => ({ "a/count": `${count}`, "b/text": "text ".repeat(count) });

/** Where layouts are put. */
interface Place {
  readonly adapter: Adapter;
  /** Variables of the program; those of this process have them as well. */
  readonly env: Readonly<Record<string, string>>;
  readonly port: number;
  /** @param path with the tag */
  url(path: string, port?: number): string;
  /** Whether the server writes on a condition, and never tells a version of content that is not there yet. */
  readonly conditional: boolean;
  /** Requests of a sync before it is signed in. Default 0. */
  readonly challenges?: number;
  /** Whether it answers without a body that a file is the same. Default true. */
  readonly unchanged?: boolean;
}

async function work(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-layouts-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

const differences = (one: string, other: string) =>
  execute("diff", ["--no-dereference", "-rq", one, other]).then(
    ({ stdout }) => stdout,
    ({ stdout }: { stdout: string }) => stdout,
  );

const lastOf = (stdout: string) => JSON.parse(stdout.trim().split("\n").at(-1) as string) as object;

function describePlace(place: Place): void {
  const { adapter, env, url, conditional, challenges = 0, unchanged } = place;
  const adapters = [ociAdapter as unknown as Adapter, adapter];
  const push = (contents: Readonly<Record<string, string>>, to: string) =>
    pushFiles(filesOf(contents), to, { adapters, attempts: 5 });
  const open = async (from: string) => {
    const opened = await openSource(resolveSource(from, adapters));
    onTestFinished(() => opened.close());
    return opened;
  };

  beforeAll(() => {
    for (const [name, value] of Object.entries(env)) vitest.vi.stubEnv(name, value);
    return () => void vitest.vi.unstubAllEnvs();
  });

  test("a tree is pushed and followed; a change is one layer, and four requests to follow", async () => {
    const cwd = await work();
    const site = join(cwd, "site");
    for (let i = 0; i < 300; i++) {
      await mkdir(join(site, `dir ${i % 30}`), { recursive: true });
      await writeFile(join(site, `dir ${i % 30}/file-${i}`), `${i} `.repeat(500));
    }
    await writeFile(join(site, "empty"), "");
    await symlink("empty", join(site, "link"));
    const to = url("team/a site:live");
    const args = ["push", "./site", to, "--work", "work", "--json", "--symlinks", "all"];
    expect(lastOf((await runPannierOk(args, { cwd, env })).stdout)).toMatchObject({
      changed: true,
      files: 302,
    });
    await runPannierOk(["sync", to, "target"], { cwd, env });
    expect(await differences(site, join(cwd, "target/current"))).toBe("");

    expect(lastOf((await runPannierOk(args, { cwd, env })).stdout)).toMatchObject({
      changed: false,
      sentBytes: 0,
    });
    await writeFile(join(site, "dir 7/file-7"), "changed");
    expect(lastOf((await runPannierOk(args, { cwd, env })).stdout)).toMatchObject({
      changed: true,
      sentLayers: 1,
    });
    const sync = ["sync", to, "target", "--json"];
    expect(lastOf((await runPannierOk(sync, { cwd, env })).stdout)).toMatchObject({
      changed: 1,
      added: 0,
      deleted: 0,
      requests: 4 + challenges,
    });
    expect(await differences(site, join(cwd, "target/current"))).toBe("");
    expect(lastOf((await runPannierOk(sync, { cwd, env })).stdout)).toMatchObject({
      result: "unchanged",
      requests: 1 + challenges,
    });
  });

  const skipReason = "the server sends what did not change as well";
  test.skipIf(unchanged === false)(
    "a poll without a change has no body",
    { meta: { skipReason } },
    async () => {
      await push({ page: "1" }, url("poll:live"));
      const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: place.port } });
      onTestFinished(() => proxy.close());
      const { source } = await open(url("poll:live", proxy.port));
      const probe = async () => {
        const { received } = proxy.stats;
        const found = await source.probe(signal);
        return { token: found?.token, bytes: proxy.stats.received - received };
      };
      const first = await probe();
      // What was written just now may be written again within the same second.
      await vitest.expect.poll(async () => (await probe()).bytes).toBeLessThan(first.bytes - 100);
      expect((await probe()).token).toBe(first.token);
      await push({ page: "2" }, url("poll:live"));
      expect((await probe()).token).not.toBe(first.token);
      await push({ page: "3" }, url("poll:live"));
      const last = await probe();
      await push({ page: "4" }, url("poll:live"));
      expect((await probe()).token).not.toBe(last.token);
    },
  );

  test("who reads while it is pushed to sees one image or the other, and all of it", async () => {
    const to = url("while:live");
    await push(sized(1), to);
    const pushing = (async () => {
      for (let count = 2; count < 20; count++) await push(sized(count), to);
    })();
    const { source, retry } = await open(to);
    const seen = new Set<number>();
    const read = async () => {
      const { entries } = await retry(() => listAll(source), signal);
      const text = entries.get("b/text");
      if (text?.kind !== "file") throw new Error("there is no text");
      seen.add((text.size ?? 0) / 5);
    };
    const ended = pushing.then(
      () => true,
      () => true,
    );
    while (!(await Promise.race([ended, read()]))) await read();
    await pushing;
    expect([...seen].every((count) => Number.isInteger(count) && count > 0)).toBe(true);
    expect((await listAll(source)).file("b/text").size).toBe(19 * 5);
  });

  test.skipIf(!conditional)(
    "tags that are pushed at the same time stay all of them",
    { meta: { skipReason: "the server does not keep conditions" } },
    async () => {
      // More than a push has tries for what fails.
      const tags = Array.from({ length: 8 }, (_, i) => `tag-${i}`);
      await Promise.all(tags.map((tag) => push({ page: tag }, url(`tags:${tag}`))));
      for (const tag of tags) {
        const listed = await listAll((await open(url(`tags:${tag}`))).source);
        expect([...listed.entries.keys()]).toEqual(["page"]);
      }
    },
  );

  test("a push over a line that fails is tried again, and leaves no half", async () => {
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port: place.port } });
    onTestFinished(() => proxy.close());
    const through = url("faults:live", proxy.port);
    await push({ page: "1" }, through);
    await proxy.set({ http: { status: 503, probability: 0.3, first: 4, seed: 7 } });
    await push({ page: "2" }, through);
    await proxy.set({ resetAfter: 0, times: 3 });
    await push({ page: "3, which is longer" }, through);
    expect((await listAll((await open(url("faults:live"))).source)).file("page").size).toBe(18);
  });

  test("an image is signed before the tag names it; old signatures leave the index", async () => {
    const cwd = await work();
    const keys = new URL("../../packages/signatures/test/made-by-cosign/", import.meta.url);
    for (const name of ["cosign.key", "cosign.pub"]) await cp(new URL(name, keys), join(cwd, name));
    await writeFile(join(cwd, "password"), "open sesame\n");
    await writeFile(join(cwd, "page"), "1");
    const to = url("signed:live");
    const sign = ["--sign", "cosign.key", "--sign-password-file", "password"];
    const follow = ["sync", to, "target", "--signed-by", "cosign-key:cosign.pub"];
    await runPannierOk(["push", "./page", to], { cwd, env });
    expect(await runPannier(follow, { cwd, env })).toMatchObject({ code: 6 });
    for (const content of ["1", "two", "and three"]) {
      await writeFile(join(cwd, "page"), content);
      await runPannierOk(["push", "./page", to, ...sign], { cwd, env });
      await runPannierOk(follow, { cwd, env });
      expect(await readFile(join(cwd, "target/current/page"), "utf8")).toBe(content);
    }
    const adapterOf = resolveSource(to, adapters).adapter;
    expect(adapterOf.signatures).toEqual(["cosign-key", "sigstore"]);
  });
}

/** @param open with small limits, in place of gigabytes. @param abandons whether an upload that fails is given up by a request */
function testParts(
  open: (context: FolderContext) => Folder | Promise<Folder>,
  abandons: boolean,
): void {
  test("what is larger than one request may be goes in parts", async () => {
    let requests = 0;
    const context = { credentials: {}, idleTimeout: 30_000, request: () => void requests++ };
    const folder = await open(context);
    onTestFinished(() => folder.close());
    const bytes = randomBytes(12 << 20);
    const file = (end: () => Promise<void>) => ({
      size: bytes.byteLength,
      type: "application/octet-stream",
      async *content() {
        for (let at = 0; at < bytes.byteLength; at += 300_000)
          yield bytes.subarray(at, at + 300_000);
        await end();
      },
    });
    await folder.write(
      "dir/blob",
      file(async () => {}),
      signal,
    );
    expect(await folder.size("dir/blob", signal)).toBe(bytes.byteLength);
    const read = async (range?: { offset: number; length: number }) => {
      const found = await folder.read("dir/blob", { range, operation: "read" }, signal);
      if (found === undefined) throw new Error("there is no content");
      return buffer(found.content);
    };
    expect((await read()).equals(bytes)).toBe(true);
    const offset = (5 << 20) - 10;
    expect(await read({ offset, length: 20 })).toEqual(bytes.subarray(offset, offset + 20));

    requests = 0;
    const fails = file(() => Promise.reject(new Error("it is another's")));
    await expect(folder.write("other", fails, signal)).rejects.toThrow("it is another's");
    // Three parts, and in S3 the beginning and the end of an upload.
    expect(requests).toBe(abandons ? 5 : 3);
    expect(await folder.size("other", signal)).toBeUndefined();
  });
}

/** The folder that a URL of a layout is in. */
const within = (url: string, adapter: Adapter): SourceSpec =>
  resolveSource(url.replace("oci+", "").replace(/:live(?=\?)/, "/"), [adapter]);

function describeS3({ port: own, keys }: S3Server, conditional: boolean): Place {
  const bucket = `layouts-${process.pid}`;
  beforeAll(async () => sdkServer(own, keys).createBucket(bucket));
  const url = (path: string, port = own) =>
    `oci+s3://${bucket}/${encodeURI(path)}?endpoint=http://127.0.0.1:${port}&region=us-east-1`;
  const env = {
    AWS_ACCESS_KEY_ID: keys.id,
    AWS_SECRET_ACCESS_KEY: keys.secret,
    AWS_EC2_METADATA_DISABLED: "true",
  };
  const adapter = s3Adapter as unknown as Adapter;
  const place = { adapter, env, port: own, url, conditional };
  describePlace(place);
  return place;
}

/** The tag stands before the query. */
const tagged = (url: string) => url.replace(/(\?.*):(\w+)$/, ":$2$1");

describeWith("versity", "S3 from versitygw", (server) => {
  // With ETags in files of their own (--sidecar), it shows a new one before the new content: who reads in between then writes over that.
  const { url, env } = describeS3(server, false);

  describe("an image layout in a bucket", () => {
    const adapters = [ociAdapter, s3Adapter] as unknown as Adapter[];
    const { create } = imageStores(
      (files, to) => pushFiles(files, tagged(to), { adapters }),
      (store, at) => url(`conformance/${store}`, at),
      { host: "127.0.0.1", port: server.port },
    );
    describeAdapter(
      vitest,
      {
        adapter: resolveSource(url("conformance/all:live"), adapters).adapter as never,
        traits: {
          network: "http",
          integrity: true,
          mtimes: false,
          holds: (path) => !/(?:^|\/)\.wh\./.test(path),
        },
        async create(files) {
          const store = await create(files);
          return {
            ...store,
            source(how) {
              const source = store.source(how);
              return { ...source, url: tagged(source.url) };
            },
          };
        },
        failures: {
          "not-found": (store) => ({ url: store.source({}).url.replace(":live", ":missing") }),
        },
      },
      { idleTimeout: 1500, largeFile: 8 << 20 },
    );
  });

  test("a key that is wrong and a bucket that is not there are told", async () => {
    const cwd = await work();
    await writeFile(join(cwd, "page"), "1");
    const wrong = { ...env, AWS_SECRET_ACCESS_KEY: "a wrong secret" };
    const refused = await runPannier(["push", "./page", url("auth:live")], { cwd, env: wrong });
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining("cannot push to") });
    expect(refused.stderr).not.toContain("a wrong secret");
    const none = url("site:live").replace("//layouts-", "//none-");
    expect(await runPannier(["push", "./page", none], { cwd, env })).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("the bucket does not exist"),
    });
    expect(await runPannier(["sync", none, "target"], { cwd, env })).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("not an image layout, or not yet: the bucket does not exist"),
    });
  });

  const { location, options } = within(url("parts:live"), s3Adapter as unknown as Adapter);
  testParts(
    (context) =>
      openS3Folder(location, options as OptionValues<typeof s3Adapter.options>, context, {
        whole: 1 << 20,
        part: 5 << 20,
      }),
    true,
  );

  test("a relay pushes what it publishes", async () => {
    const cwd = await work();
    await writeFile(join(cwd, "page"), "1");
    const to = url("relay:live");
    const mount = { target: "./target", sources: [join(cwd, "page")], push: to };
    await writeFile(
      join(cwd, "pannier.yaml"),
      JSON.stringify({ http: { port: 0 }, mounts: [mount] }),
    );
    await runPannierOk(["run", "--once", "--config", "pannier.yaml"], { cwd, env });
    await runPannierOk(["sync", to, "followed"], { cwd, env });
    expect(await readFile(join(cwd, "followed/current/page"), "utf8")).toBe("1");
  });
});

describeWith("rclone", "S3 from rclone", (server) => void describeS3(server, false));

describeWith("gcs", "Google Cloud Storage from fake-gcs-server", ({ endpoint, port: own }) => {
  const bucket = `layouts-${process.pid}`;
  beforeAll(async () => apiClient(endpoint).createBucket(bucket));
  describePlace({
    adapter: gcsAdapter as unknown as Adapter,
    env: {},
    port: own,
    url: (path, port = own) =>
      `oci+gs://${bucket}/${encodeURI(path)}?endpoint=http://127.0.0.1:${port}&anonymous=true`,
    conditional: true,
    unchanged: false,
  });
});

describeWith("azure", "Azure Blob Storage from Azurite", (server) => {
  const { account, key, port: own } = server;
  const container = `layouts-${process.pid}`;
  beforeAll(async () => sdkClient(server).createBucket(container));
  const url = (path: string, port = own) =>
    `oci+az://${account}/${container}/${encodeURI(path)}?endpoint=http://127.0.0.1:${port}/${account}`;
  const adapter = azureAdapter as unknown as Adapter;
  const env = { AZURE_STORAGE_KEY: key };
  describePlace({ adapter, env, port: own, url, conditional: true });
  const { location, options } = within(url("parts:live"), adapter);
  testParts(
    (context) =>
      openAzureFolder(location, options as OptionValues<typeof azureAdapter.options>, context, {
        whole: 1 << 20,
        part: 5 << 20,
      }),
    false,
  );
});

function describeDav({ plain, root, user, password }: DavServer) {
  let name = "";
  beforeAll(async () => {
    const directory = await mkdtemp(join(root, "layouts-"));
    await chmod(directory, 0o777);
    name = directory.slice(root.length + 1);
  });
  describePlace({
    adapter: webdavAdapter as unknown as Adapter,
    env: {},
    port: plain,
    url: (path, port = plain) =>
      `oci+dav://${user}:${password}@127.0.0.1:${port}/basic/${name}/${encodeURI(path)}`,
    // nginx knows no conditions, and Apache none for what was written within the last second.
    conditional: false,
    challenges: 1,
  });
}

describeWith("apacheDav", "WebDAV from Apache", (server) => describeDav(server));
describeWith("nginxDav", "WebDAV from nginx", (server) => describeDav(server));
