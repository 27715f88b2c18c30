/**
 * What the watch told is what a listing would have told: after random changes, and after each that could make the two differ.
 * PANNIER_TEST_SEED repeats a run of random changes.
 */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSource } from "@pannier/adapter-kit";
import { follow, type SyncOptions } from "@pannier/core";
import type { FileEntry, Source } from "@pannier/core/adapter";
import { afterAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { seededRandom } from "../../../test/support/random.ts";
import { k8s } from "../src/index.ts";
import { type ApiServer, type ObjectInit, siteObject, startApiServer } from "./api-server.ts";
import { kubeconfigFor } from "./stores.ts";

const SEED = Number(process.env["PANNIER_TEST_SEED"] ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env["PANNIER_TEST_ROUNDS"] ?? 60);

let server: ApiServer;
const servers: ApiServer[] = [];
beforeEach(async () => {
  server = await startApiServer();
  servers.push(server);
});
afterAll(async () => void (await Promise.all(servers.map((one) => one.close()))));

type Resource = "configmaps" | "secrets";

const put = (...args: Parameters<typeof siteObject>) =>
  server.put("configmaps", siteObject(...args));
const kubeconfig = () => kubeconfigFor(server.port, { token: "any" });
const { signal } = new AbortController();

/** What a listing of a source that was opened for it says; `undefined` where two objects have one path. */
async function listing(source: Source) {
  const listed = await source.list(signal);
  const entries = new Map<string, FileEntry>();
  let clashes = false;
  for await (const batch of listed.entries) {
    for (const entry of batch as readonly FileEntry[]) {
      clashes ||= entries.has(entry.path);
      entries.set(entry.path, entry);
    }
  }
  return { entries: clashes ? undefined : entries, token: listed.token?.() };
}

async function watched(url: string) {
  const spec = k8s(url, { kubeconfig: kubeconfig() });
  const { source, close } = await openSource(spec);
  const reference = await openSource(spec);
  const stop = new AbortController();
  let running: Promise<void> | undefined;
  onTestFinished(async () => {
    stop.abort();
    await running;
    await close();
    await reference.close();
  });
  let state = await listing(source);
  return {
    async begin() {
      running = (async () => {
        for await (const _ of source.watch?.(stop.signal) ?? []);
      })();
      await expect.poll(() => server.watches).toBeGreaterThan(0);
    },
    /**
     * As the engine would: by the source's changes where it has them, else by a listing.
     *
     * @param versions of the last that happens, by namespace
     * @returns which of them it was; "late" where the watch has not told all yet
     */
    async sync(
      versions: Readonly<Record<string, number>>,
    ): Promise<"changes" | "listing" | "refused" | "late"> {
      const before = state.entries ?? new Map<string, FileEntry>();
      const probe = await source.probe(signal, state.token);
      const delta =
        state.token &&
        probe &&
        (await source.changes?.(state.token, probe.token, signal, undefined, {
          ref: (path) => before.get(path)?.ref,
          pathsOf: async (refs) =>
            [...before.values()].filter(({ ref }) => refs.has(ref ?? "")).map(({ path }) => path),
        }));
      const truth = (await listing(reference.source)).entries;
      if (!delta) {
        const listed = await listing(source);
        expect(listed.entries).toEqual(truth);
        if (listed.entries === undefined) return "refused";
        state = listed;
        await source.published?.(signal);
        return "listing";
      }
      const after = new Map(before);
      const touched = new Set<string>();
      for await (const batch of delta.changes) {
        for (const change of batch) {
          const path = change.kind === "put" ? change.entry.path : change.path;
          expect(touched.has(path), `${path} twice`).toBe(false);
          touched.add(path);
          if (change.kind === "delete") expect(after.delete(path), path).toBe(true);
          else {
            const entry = change.entry as FileEntry;
            after.set(path, entry);
            const body = await source.read(entry, undefined, signal);
            const digest = createHash("sha256").update(body as Uint8Array);
            if (entry.digest) expect(digest.digest("hex")).toBe(entry.digest.value);
            expect((body as Uint8Array).length).toBe(entry.size);
          }
        }
      }
      const token = delta.token?.() ?? "";
      const isLate = token.split(" ").some((part) => {
        const [scope = "", version] = part.split("=");
        return Number(version) < (versions[scope] ?? 0);
      });
      if (!isLate) expect(after).toEqual(truth);
      state = { entries: after, token };
      await source.published?.(signal);
      return isLate ? "late" : "changes";
    },
  };
}

/** One change of any kind to a few objects, which may have paths in common. */
function changeAtRandom(resource: Resource, random: ReturnType<typeof seededRandom>): void {
  const pick = <Item>(items: readonly Item[]) => items[Math.floor(random() * items.length)] as Item;
  const namespace = pick(["web", "api"]);
  const name = pick(["a", "b", "c", "d", "e"]);
  if (random() < 0.2) return server.delete(resource, namespace, name);
  const text = () => btoa(pick(["", "1", "2", "three"]));
  const own = [`${namespace}-${name}-1`, `${namespace}-${name}-2`, `${namespace}-${name}-3`];
  const keys = [...own, ...(random() < 0.1 ? ["common"] : [])].filter(() => random() < 0.6);
  const data = Object.fromEntries(keys.map((key) => [key, text()]));
  const folder = pick([undefined, undefined, "one", "two/three"]);
  server.put(resource, {
    metadata: {
      namespace,
      name,
      labels: random() < 0.15 ? { app: "other" } : { app: "site" },
      ...(folder !== undefined && { annotations: { "pannier.dev/folder": folder } }),
    },
    data,
    ...(resource === "configmaps" &&
      random() < 0.3 && { binaryData: { [`${name}-binary`]: text() } }),
  });
}

test.each([
  ["configmaps", "k8s://web/configmaps"],
  ["configmaps", "k8s://*/configmaps?selector=app%3Dsite"],
  ["configmaps", "k8s://web,api/configmaps?layout=objects"],
  ["secrets", "k8s://web,api/secrets?selector=app%3Dsite"],
] as const)(`%s: %s, after random changes (seed ${SEED})`, async (resource, url) => {
  const random = seededRandom(SEED);
  for (let i = 0; i < 10; i++) changeAtRandom(resource, random);
  const site = await watched(url);
  await site.begin();
  const watches = url.includes("web,api") ? 2 : 1;
  const ways = { changes: 0, listing: 0, refused: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const changes = 1 + Math.floor(random() * 4);
    const isCut = random() < 0.04;
    if (isCut) server.cutWatches();
    for (let i = 0; i < changes; i++) changeAtRandom(resource, random);
    if (isCut && random() < 0.5) server.compact();
    // The last that each watch tells.
    const [web, api] = ["web", "api"].map((namespace) => {
      const metadata = { namespace, name: "marker", labels: { app: "site" } };
      const data = { [`marker-${namespace}-${round}`]: "MQ==" };
      return Number(server.put(resource, { metadata, data }).metadata.resourceVersion);
    }) as [number, number];
    // Some rounds are over before a watch begins again: not all, or there would be nothing but listings.
    const least = random() < 0.5 ? watches : 0;
    await expect.poll(() => server.watches).toBeGreaterThanOrEqual(least);
    let way;
    do way = await site.sync({ web, api, "*": api });
    while (way === "late");
    ways[way]++;
  }
  expect(ways.changes).toBeGreaterThan(ROUNDS / 10);
});

/** All files of a tree with their content. */
function treeOf(directory: string): Record<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    names
      .filter((name) => statSync(join(directory, name)).isFile())
      .map((name) => [name, readFileSync(join(directory, name), "utf8")]),
  );
}

/** Follows a source until its watch tells what changes; afterwards `asked` is what was asked of the server since. */
async function followed(url: string, more: Partial<SyncOptions> = {}, into = "") {
  const to = mkdtempSync(join(tmpdir(), "pannier-k8s-"));
  const stop = new AbortController();
  const errors: string[] = [];
  const source = k8s(url, { kubeconfig: kubeconfig() });
  const options = { sources: [{ source, into }], target: to, period: "1h", ...more };
  const running = (async () => {
    for await (const event of follow(options, { signal: stop.signal }))
      if (event.type === "failed") errors.push(event.error.message);
  })();
  onTestFinished(async () => {
    stop.abort();
    await running;
    rmSync(to, { recursive: true });
  });
  const tree = () => treeOf(join(to, "current"));
  const asked = () => server.log.map(({ pathname, search }) => pathname + search);
  const resource = url.includes("/secrets") ? "secrets" : "configmaps";
  const began = () => server.log.splice(0).every(({ search }) => search.includes("watch=true"));
  const metadata = { namespace: "web", name: "ready", labels: { app: "site" } };
  await expect.poll(() => server.watches).toBe(1);
  // The first may need a listing still.
  let round = 0;
  do {
    server.put(resource, { metadata, data: { [`ready-${++round}`]: "MQ==" } });
    await expect.poll(() => Object.keys(tree()).join()).toContain(`ready-${round}`);
  } while (round === 1 || !began());
  server.delete(resource, "web", "ready");
  await expect.poll(() => Object.keys(tree()).join()).not.toContain("ready");
  server.log.length = 0;
  return { to, tree, asked, errors, forget: () => void (server.log.length = 0) };
}

test("asks for nothing where the watch told what changed", async () => {
  put("a", { kept: "1", removed: "2" });
  put("b", { gone: "3" });
  put("c", { here: "4" });
  put("d", { same: "5" });
  put("e", { unlabelled: "6" });
  const site = await followed("k8s://web/configmaps?selector=app%3Dsite");
  put("a", { kept: "one", added: "7" });
  server.delete("configmaps", "web", "b");
  put("c", { here: "4" }, { annotations: { "pannier.dev/folder": "there" } });
  // One object takes the place of another.
  server.delete("configmaps", "web", "d");
  put("d2", { same: "5" });
  put("e", { unlabelled: "6" }, { labels: {} });
  server.put("configmaps", {
    ...siteObject("f", { text: "8" }),
    binaryData: { binary: Buffer.from("bytes").toString("base64") },
    immutable: true,
  } as ObjectInit);
  await expect
    .poll(site.tree)
    .toEqual({ kept: "one", added: "7", "there/here": "4", same: "5", text: "8", binary: "bytes" });
  expect(site.asked()).toEqual([]);
  // It is known by the other object that has it now.
  put("d2", {});
  server.delete("configmaps", "web", "f");
  await expect.poll(site.tree).toEqual({ kept: "one", added: "7", "there/here": "4" });
  expect(site.asked()).toEqual([]);
});

test("takes no path of another object, as long as that has it", async () => {
  put("a", { same: "1" });
  const site = await followed("k8s://web/configmaps");
  put("b", { same: "2", other: "3" });
  await expect.poll(() => site.errors.length).toBeGreaterThan(0);
  expect(site.errors[0]).toContain('"same" is in two configmaps: web/a and web/b');
  expect(site.tree()).toEqual({ same: "1" });
  put("a", { another: "4" });
  await expect.poll(site.tree).toEqual({ same: "2", other: "3", another: "4" });
});

test("goes by filters, in a directory of the tree", async () => {
  put("a", { page: "1", draft: "1" });
  put("b", { "b-page": "1", draft: "2" });
  const site = await followed("k8s://web/configmaps", { exclude: ["draft"] }, "pages");
  put("a", { page: "2", draft: "3" });
  put("b", { draft: "3" });
  await expect.poll(site.tree).toEqual({ "pages/page": "2" });
  expect(site.asked()).toEqual([]);
});

test("an object with a .pannierignore is listed with all others", async () => {
  put("a", { page: "1", draft: "1" });
  const site = await followed("k8s://web/configmaps");
  put("rules", { ".pannierignore": "draft" });
  await expect.poll(site.tree).toEqual({ page: "1" });
  server.delete("configmaps", "web", "rules");
  await expect.poll(site.tree).toEqual({ page: "1", draft: "1" });
});

const large = (text: string) => text.repeat(3 << 20);

test("asks for the content of an object for which memory has no room", async () => {
  put("a", { small: "1" });
  const site = await followed("k8s://web/configmaps");
  for (const text of ["1", "2"]) put(`large-${text}`, { [`key-${text}`]: large(text) });
  await expect.poll(() => site.tree()["key-2"] === large("2")).toBe(true);
  expect(site.tree()["key-1"] === large("1")).toBe(true);
  expect(site.asked()).toEqual(["/api/v1/namespaces/web/configmaps/large-2"]);
});

test("lists where a watch was cut, for what was deleted meanwhile", async () => {
  put("a", { kept: "1" });
  put("b", { gone: "2" });
  const site = await followed("k8s://web/configmaps");
  server.cutWatches();
  server.delete("configmaps", "web", "b");
  await expect.poll(site.tree).toEqual({ kept: "1" });
  expect(site.asked().join()).toContain("limit=500");
});

test("lists after a cut although a listing was ahead of the watch: the cluster may be another now", async () => {
  put("a", { kept: "1" });
  put("b", { lost: "2" });
  const site = await followed("k8s://web/configmaps");
  const listings = () => site.asked().filter((question) => question.includes("limit=500")).length;
  // What is listed after the first cut is of a later moment than the watch ever tells of.
  server.cutWatches();
  put("a", { kept: "2" });
  server.put("secrets", siteObject("other", {}));
  await expect.poll(site.tree).toEqual({ kept: "2", lost: "2" });
  expect(listings()).toBe(1);
  await expect.poll(() => server.watches).toBe(1);
  server.cutWatches();
  // Nobody tells what is missing in the state that was restored.
  server.lose("configmaps", "web", "b");
  put("a", { kept: "3" });
  await expect.poll(site.tree).toEqual({ kept: "3" });
  // From there on the watch tells all.
  site.forget();
  put("a", { kept: "4" });
  await expect.poll(site.tree).toEqual({ kept: "4" });
  expect(site.asked()).toEqual([]);
});

const putSecret = (text: string) =>
  server.put("secrets", siteObject("db", { password: btoa(text) }));

test("a Secret that the watch brought is in its file alone", async () => {
  const password = "hunter22-by-the-watch";
  putSecret("before");
  const site = await followed("k8s://web/secrets");
  putSecret(password);
  await expect.poll(site.tree).toEqual({ password });
  expect(site.asked()).toEqual([]);
  const others = Object.entries(treeOf(join(site.to, ".pannier"))).filter(
    ([name]) => !name.startsWith("generations/"),
  );
  expect(others.length).toBeGreaterThan(0);
  const digest = createHash("sha256").update(password).digest("hex");
  for (const [name, text] of others)
    for (const trace of [password, btoa(password), digest]) expect(text, name).not.toContain(trace);
});
