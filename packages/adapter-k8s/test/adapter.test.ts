/** What a ConfigMap and a Secret become, and what the API server's refusals do. */
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll, openSource, type OpenedSource, readAll } from "@pannier/adapter-kit";
import { follow, sync } from "@pannier/core";
import { afterAll, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { k8s } from "../src/index.ts";
import { type ApiServer, siteObject, startApiServer } from "./api-server.ts";
import { countHints } from "./hints.ts";
import { kubeconfigFor } from "./stores.ts";

const TOKEN = "token-of-the-adapter-tests";
let server: ApiServer;
const servers: ApiServer[] = [];
beforeEach(async () => {
  server = await startApiServer();
  servers.push(server);
});
afterAll(async () => void (await Promise.all(servers.map((one) => one.close()))));

const kubeconfig = (token = TOKEN) => kubeconfigFor(server.port, { token });

const put = (...args: Parameters<typeof siteObject>) =>
  server.put("configmaps", siteObject(...args));

async function open(url: string, options: Record<string, unknown> = {}): Promise<OpenedSource> {
  const opened = await openSource(k8s(url, { kubeconfig: kubeconfig(), ...options }));
  onTestFinished(() => opened.source.close());
  return opened;
}

async function pathsOf(url: string): Promise<readonly string[]> {
  const { source } = await open(url);
  return (await listAll(source)).paths.toSorted();
}

function target(): string {
  const directory = mkdtempSync(join(tmpdir(), "pannier-k8s-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

const site = (options: Record<string, unknown> = {}) =>
  k8s("k8s://web/configmaps?selector=app%3Dsite", { kubeconfig: kubeconfig(), ...options });

/** All files of a tree with their content. */
function treeOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    names
      .filter((name) => statSync(join(directory, name)).isFile())
      .map((name) => [name, readFileSync(join(directory, name), "utf8")]),
  );
}

test("makes a file of each key, in the directory of an annotation", async () => {
  server.put("configmaps", {
    ...siteObject("plain", { "a.json": "{}", empty: "" }),
    binaryData: { "logo.png": Buffer.from([0, 255, 10]).toString("base64") },
  });
  put("ours", { b: "2" }, { annotations: { "pannier.dev/folder": "deep/er/" } });
  const sidecar = { "k8s-sidecar-target-directory": "./theirs" };
  put("theirs", { c: "3" }, { annotations: sidecar });
  const both = { ...sidecar, "pannier.dev/folder": "first" };
  put("both", { d: "4" }, { annotations: both });
  put("unlabelled", { e: "5" }, { labels: {} });
  const { source } = await open("k8s://web/configmaps", { selector: "app=site" });
  const listed = await listAll(source);
  expect(listed.paths.toSorted()).toEqual([
    "a.json",
    "deep/er/b",
    "empty",
    "first/d",
    "logo.png",
    "theirs/c",
  ]);
  expect(await readAll(source, listed.file("logo.png"))).toEqual(Buffer.from([0, 255, 10]));
  expect(listed.file("empty").size).toBe(0);
});

test("takes absolute directories below folderRoot, and refuses others with the object's name", async () => {
  const annotations = { "k8s-sidecar-target-directory": "/tmp/dashboards/team/" };
  put("board", { a: "1" }, { annotations });
  const roots = {
    "/tmp/dashboards": "team/a",
    "/tmp/dashboards/": "team/a",
    "/tmp/": "dashboards/team/a",
  };
  for (const [folderRoot, path] of Object.entries(roots)) {
    const { source } = await open("k8s://web/configmaps", { folderRoot });
    expect((await listAll(source)).paths).toEqual([path]);
  }
  for (const folderRoot of [undefined, "/tmp/dash", "/other"]) {
    const { source } = await open("k8s://web/configmaps", { folderRoot });
    await expect(listAll(source)).rejects.toThrow(
      'configmaps web/board: its annotation k8s-sidecar-target-directory is the absolute path "/tmp/dashboards/team/"',
    );
  }
});

test("names the two objects of a path that comes twice, unless it is filtered or laid out", async () => {
  put("one", { "same.json": "1" });
  put("two", { "same.json": "2", other: "3" });
  const to = target();
  await expect(sync({ sources: [site()], target: to })).rejects.toMatchObject({
    exitCode: 6,
    message: expect.stringMatching(
      /"same\.json" is in two configmaps: web\/one and web\/two/,
    ) as string,
  });
  expect(readdirSync(to)).not.toContain("current");
  await sync({ sources: [site()], target: to, exclude: ["same.json"] });
  expect(treeOf(join(to, "current"))).toEqual({ other: "3" });
  await sync({ sources: [site({ layout: "objects" })], target: to });
  expect(treeOf(join(to, "current"))).toEqual({
    "web/one/same.json": "1",
    "web/two/same.json": "2",
    "web/two/other": "3",
  });
});

test.each(["../up", "a/../../up", ".pannier/x/../..", "a\0b"])(
  "publishes nothing where a directory is %j",
  async (folder) => {
    put("bad", { a: "1" }, { annotations: { "pannier.dev/folder": folder } });
    put("good", { b: "1" });
    const to = target();
    await expect(sync({ sources: [site()], target: to })).rejects.toMatchObject({ exitCode: 6 });
    expect(readdirSync(to)).not.toContain("current");
  },
);

test("reads several namespaces, all, and one object", async () => {
  for (const namespace of ["a", "b", "c"]) {
    server.put("configmaps", { metadata: { namespace, name: "x" }, data: { [namespace]: "1" } });
  }
  expect(await pathsOf("k8s://a,c/configmaps")).toEqual(["a", "c"]);
  expect(await pathsOf("k8s://*/configmaps")).toEqual(["a", "b", "c"]);
  expect(await pathsOf("k8s://b/configmaps/x")).toEqual(["b"]);
  expect(await pathsOf("k8s://d/configmaps")).toEqual([]);
  await expect(pathsOf("k8s://d/configmaps/x")).rejects.toMatchObject({ code: "not-found" });
});

test.each([
  ["k8s://web/pods", '"pods" is neither configmaps nor secrets'],
  ["k8s://Web/configmaps", '"Web" is not a valid namespace'],
  ["k8s://web,/configmaps", '"" is not a valid namespace'],
  ["k8s://*/secrets/x", "one object by name is in one namespace"],
  ["k8s://web/secrets/x/y", '"x/y" is not the name of an object'],
  ["k8s://web/secrets/x?selector=a", "one object by name takes no selector"],
  ["k8s://user:pass@web/secrets", "a k8s:// URL names neither a server nor a user"],
  ["k8s://web/secrets?folderRoot=a", "the option folderRoot is not an absolute path"],
])("refuses %s", async (url, message) => {
  await expect(open(url)).rejects.toThrow(message);
});

test("lists in pages, as it all was at one moment", async () => {
  for (let i = 0; i < 1203; i++) put(`map-${i}`, { [`key-${i}`]: "1" });
  let pages = 0;
  server.onPage = () => {
    pages++;
    put("map-1202", { late: String(pages) });
  };
  const { source, requests } = await open("k8s://web/configmaps");
  expect((await listAll(source)).paths).toHaveLength(1203);
  expect(requests).toEqual(["list", "list", "list"]);
  server.onPage = undefined;
  expect((await listAll(source)).paths).toContain("late");
});

test("reads each object once, however many there are, in whatever order", async () => {
  // Not in the order of the objects' names.
  const files = Array.from(
    { length: 1100 },
    (_, i) => [`key-${(i * 607) % 1100}`, `${i} `.repeat(6000)] as const,
  );
  for (const [i, [key, text]] of files.entries()) put(`map-${i}`, { [key]: text });
  const to = target();
  const first = await sync({ sources: [site()], target: to });
  // A probe, and three pages of 25 MB in all.
  expect(first).toMatchObject({ added: 1100, requests: 4 });
  const tree = treeOf(join(to, "current"));
  expect(files.every(([key, text]) => tree[key] === text)).toBe(true);
});

const mebibyteOf = (i: number) => `${i}`.repeat(1 << 20);

test.each([
  ["configmaps", true],
  ["secrets", false],
] as const)("%s that memory does not hold are on the disk: %s", async (resource, expected) => {
  for (let i = 0; i < 9; i++) {
    const value = resource === "secrets" ? btoa(mebibyteOf(i)) : mebibyteOf(i);
    server.put(resource, siteObject(`big-${i}`, { [`key-${i}`]: value }));
  }
  const { source } = await open(`k8s://web/${resource}`);
  const listed = await listAll(source);
  const files = readdirSync("/proc/self/fd").map((fd) => {
    const link = `/proc/self/fd/${fd}`;
    return lstatSync(link, { throwIfNoEntry: false }) && readlinkSync(link);
  });
  expect(files.some((file) => file?.endsWith("/objects (deleted)"))).toBe(expected);
  for (let i = 0; i < 9; i++) {
    expect((await readAll(source, listed.file(`key-${i}`))).toString() === mebibyteOf(i)).toBe(
      true,
    );
  }
});

test("begins a listing again that the server has forgotten", async () => {
  for (let i = 0; i < 30; i++) put(`map-${i}`, { [`key-${i}`]: "1" });
  server.pageLimit = 10;
  let pages = 0;
  server.onPage = () => {
    // The first is the probe's.
    if (++pages === 3) server.compact();
  };
  const to = target();
  const result = await sync({ sources: [site()], target: to });
  expect(result.added).toBe(30);
  expect(pages).toBe(6);
});

test("says what may not be done, and to what", async () => {
  put("a", { b: "1" });
  server.allowed.set(TOKEN, ["list"]);
  const { source } = await open("k8s://web/configmaps");
  const { listing } = await listAll(source);
  const { signal } = new AbortController();
  await expect(source.probe(signal, listing.token?.())).rejects.toMatchObject({
    code: "auth",
    message: expect.stringContaining("may not watch configmaps in the namespace web") as string,
    hint: "bind it to a role with the verbs get, list and watch on configmaps",
  });
  server.allowed.set(TOKEN, []);
  await expect(listAll(source)).rejects.toThrow(
    /may not list configmaps in the namespace web \(configmaps is forbidden: User "test" cannot list/,
  );
});

test("a poll costs one short request, however many objects there are", async () => {
  for (let i = 0; i < 600; i++) put(`map-${i}`, { [`key-${i}`]: "1" });
  const to = target();
  const first = await sync({ sources: [site()], target: to });
  expect(first.requests).toBe(3);
  const second = await sync({ sources: [site()], target: to });
  expect(second).toMatchObject({ result: "unchanged", requests: 1 });
  server.compact();
  // What happened since is forgotten: a listing tells.
  const third = await sync({ sources: [site()], target: to });
  expect(third).toMatchObject({ result: "unchanged", added: 0, requests: 3 });
});

test("what was deleted while nobody looked is deleted", async () => {
  put("a", { kept: "1", gone: "2" });
  put("b", { also: "3" });
  const to = target();
  await sync({ sources: [site()], target: to });
  put("a", { kept: "1" });
  server.delete("configmaps", "web", "b");
  server.compact();
  await sync({ sources: [site()], target: to });
  expect(treeOf(join(to, "current"))).toEqual({ kept: "1" });
});

/** Follows the site, and counts what is published. */
async function followed(period: string) {
  const to = target();
  const stop = new AbortController();
  const seen = { published: 0, tree: () => treeOf(join(to, "current")) };
  const running = (async () => {
    for await (const event of follow(
      { sources: [site()], target: to, period },
      { signal: stop.signal },
    )) {
      if (event.type === "published") seen.published++;
    }
  })();
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  await expect.poll(() => seen.published).toBe(1);
  return seen;
}

test("a hundred changes in a row are one publish", async () => {
  for (let i = 0; i < 100; i++) put(`map-${i}`, { [`key-${i}`]: "before" });
  const seen = await followed("1h");
  await expect.poll(() => server.watches).toBe(1);
  // What comes without a poll came by the watch: it has nothing to ask any more.
  put("map-0", { "key-0": "ready" });
  await expect.poll(() => seen.tree()["key-0"]).toBe("ready");
  const before = seen.published;
  for (let i = 0; i < 100; i++) put(`map-${i}`, { [`key-${i}`]: "after" });
  await expect.poll(() => Object.values(seen.tree()).every((text) => text === "after")).toBe(true);
  expect(seen.published).toBe(before + 1);
  // By the time that this one shows, others would have.
  put("map-0", { "key-0": "last" });
  await expect.poll(() => seen.tree()["key-0"]).toBe("last");
  await expect.poll(() => seen.published).toBe(before + 2);
});

test.each([
  ["asks for what it may have missed", 1],
  ["has missed nothing where nobody asked before", 0],
] as const)("a watch that begins %s", async (_what, missed) => {
  put("a", { b: "0" });
  const { source } = await open("k8s://web/configmaps");
  if (missed > 0) await source.probe(new AbortController().signal);
  const hints = countHints(source);
  await expect.poll(() => server.watches).toBe(1);
  await expect.poll(hints).toBe(missed);
  put("a", { b: "1" });
  await expect.poll(hints).toBe(missed + 1);
});

test("goes on watching where a watch was cut, and where the server forgot", async () => {
  put("a", { b: "0" });
  const seen = await followed("1h");
  await expect.poll(() => server.watches).toBe(1);
  server.cutWatches();
  put("a", { b: "1" });
  await expect.poll(() => seen.tree()).toEqual({ b: "1" });
  await expect.poll(() => server.watches).toBe(1);
  // While nobody watches, it happens and is forgotten.
  server.cutWatches();
  put("a", { b: "2" });
  server.compact();
  await expect.poll(() => seen.tree()).toEqual({ b: "2" });
});

test("polls where a watch is dead without a word", async () => {
  put("a", { b: "0" });
  const seen = await followed("1s");
  await expect.poll(() => server.watches).toBe(1);
  server.mute = true;
  put("a", { b: "1" });
  await expect.poll(() => seen.tree()).toEqual({ b: "1" });
});

test("lists once an hour, whatever the server says has changed", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  put("a", { b: "0" });
  put("gone", { c: "0" });
  const { source, requests } = await open("k8s://web/configmaps");
  const { signal } = new AbortController();
  const token = (await listAll(source)).listing.token?.();
  server.lose("configmaps", "web", "gone");
  vi.advanceTimersByTime(59 * 60_000);
  expect(await source.probe(signal, token)).toEqual({ token });
  vi.advanceTimersByTime(2 * 60_000);
  // The engine lists where a probe cannot tell.
  expect(await source.probe(signal, token)).toBeUndefined();
  expect(requests).toEqual(["list", "probe"]);
  const listed = await listAll(source);
  expect(listed.paths).toEqual(["b"]);
  const now = listed.listing.token?.();
  expect(await source.probe(signal, now)).toEqual({ token: now });
});

test("signs in with what the token's file holds now", async () => {
  put("a", { b: "1" });
  server.tokens.add("first");
  const tokenFile = join(target(), "token");
  writeFileSync(tokenFile, "first\n");
  const spec = k8s("k8s://web/configmaps", { kubeconfig: kubeconfig("old") });
  const { source } = await openSource(spec, { credentials: { tokenFile } });
  onTestFinished(() => source.close());
  await listAll(source);
  server.tokens.clear();
  server.tokens.add("second");
  await expect(listAll(source)).rejects.toMatchObject({ code: "auth" });
  writeFileSync(tokenFile, "second\n");
  await listAll(source);
});

test("keeps nothing of a Secret but its file", async () => {
  const password = "hunter22";
  const secret = () =>
    server.put("secrets", {
      metadata: { namespace: "web", name: "db", labels: { app: "site" } },
      data: { password: btoa(password), user: btoa("admin") },
    });
  secret();
  const to = target();
  const events: unknown[] = [];
  const source = k8s("k8s://web/secrets?selector=app%3Dsite", { kubeconfig: kubeconfig() });
  const options = {
    sources: [source],
    target: to,
    onEvent: (event: unknown) => events.push(event),
  };
  const result = await sync(options);
  // Once more with another version of the same content, and what verifying finds.
  secret();
  await sync(options);
  expect(await sync({ ...options, verify: true } as never)).toMatchObject({ result: "unchanged" });
  const file = join(to, "current/password");
  expect(readFileSync(file, "utf8")).toBe(password);
  expect((statSync(file).mode & 0o777).toString(8)).toBe("440");

  const kept = readdirSync(join(to, ".pannier"), { recursive: true, encoding: "utf8" })
    .filter(
      (name) => !name.startsWith("generations") && statSync(join(to, ".pannier", name)).isFile(),
    )
    .map((name) => readFileSync(join(to, ".pannier", name)).toString("latin1"));
  expect(kept.length).toBeGreaterThan(0);
  const told = [...kept, JSON.stringify([result, events])];
  const digests = ["sha256", "sha1", "md5"].flatMap((algorithm) => {
    const bytes = createHash(algorithm).update(password).digest();
    return [bytes.toString("hex"), bytes.toString("base64"), bytes.toString("latin1")];
  });
  for (const text of [password, btoa(password), ...digests]) {
    expect(
      told.some((one) => one.includes(text)),
      text,
    ).toBe(false);
  }
});

test("finds the cluster of the pod, and says what is missing", async () => {
  const { findCluster } = await import("../src/cluster.ts");
  const serviceAccount = target();
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
  const init = { kubeconfig: undefined, context: undefined, credentials: {}, env, serviceAccount };
  await expect(findCluster(init)).rejects.toThrow("the pod has no service account token");
  writeFileSync(join(serviceAccount, "token"), "abc");
  writeFileSync(join(serviceAccount, "namespace"), "web\n");
  await expect(findCluster(init)).rejects.toThrow(/ca\.crt/);
  writeFileSync(join(serviceAccount, "ca.crt"), "-----BEGIN CERTIFICATE-----\n");
  expect(await findCluster(init)).toMatchObject({
    namespace: "web",
    server: new URL("https://[fd00::1]:6443"),
  });
  await expect(findCluster({ ...init, env: {} })).rejects.toThrow("no cluster is known");
  vi.unstubAllEnvs();
});

test.each([
  ["no YAML", "a: b: secret-token", "is not YAML"],
  ["no context", "clusters: []", "has no current context"],
  ["another context", "current-context: x", 'has no context "x"'],
  [
    "a program",
    config("exec: { command: aws }"),
    "signs in by a program (exec), which Pannier does not run",
  ],
  ["a password", config("username: me"), "signs in with user and password"],
  ["impersonation", config("as: you"), "impersonates another user"],
  [
    "no check of the certificate",
    config("token: a", "insecure-skip-tls-verify: true"),
    "skips the check",
  ],
  [
    "a token over http",
    config("token: a", "", "http://cluster.example"),
    "a token is not sent over plain http",
  ],
])("refuses a kubeconfig with %s", async (_, text, message) => {
  const path = join(target(), "config");
  writeFileSync(path, text);
  const failure = await open("k8s://web/configmaps", { kubeconfig: path }).catch(
    (error: unknown) => error,
  );
  expect(failure).toMatchObject({
    exitCode: 2,
    message: expect.stringContaining(message) as string,
  });
  expect(String(failure)).not.toContain("secret-token");
});

function config(user: string, cluster = "", address = "https://cluster.example"): string {
  return `current-context: x
contexts: [{ name: x, context: { cluster: x, user: x } }]
clusters: [{ name: x, cluster: { server: "${address}", ${cluster} } }]
users: [{ name: x, user: { ${user} } }]`;
}
