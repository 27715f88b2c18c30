/** The HTTP port: triggers, webhooks, metrics, and what it keeps to itself. */
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { SourceError } from "@pannier/core";
import { expect, it, onTestFinished } from "vitest";
import { type HooksConfig, httpConfig } from "../src/config/config.ts";
import { daemonConfig, mountConfig, type Running, scratch, startDaemon } from "./run-daemon.ts";
import { eventually } from "../../../test/support/eventually.ts";

const FULL = process.env["PANNIER_SCALE"] === "full";
const TOKEN = "let-me-in";
const SECRET = "hooked";

/** Mounts `site` and `docs`, whose first sync is over. */
async function start(
  hooks: Partial<HooksConfig> = {},
): Promise<Running & { readonly folder: string }> {
  const folder = scratch();
  writeFileSync(join(folder, "token"), `${TOKEN}\n`);
  writeFileSync(join(folder, "secret"), SECRET);
  const http = httpConfig({
    host: "127.0.0.1",
    port: 0,
    triggerTokenFile: join(folder, "token"),
    webhookSecretFile: join(folder, "secret"),
  });
  const names = ["site", "docs"];
  const daemon = startDaemon(
    daemonConfig(
      names.map((name) => mountConfig(name, join(folder, name), { hooks })),
      { http },
    ),
  );
  for (const name of names) {
    Object.assign(daemon.source(name), {
      location: {
        ...daemon.source(name).location,
        host: "git.example.com",
        pathname: `/web/${name}.git`,
      },
    });
    await daemon.event(name, "waiting");
  }
  return { ...daemon, folder };
}

async function post(
  daemon: Running,
  path: string,
  headers: Record<string, string> = {},
  body = "",
): Promise<{ readonly status: number; readonly json: Record<string, unknown> }> {
  const response = await fetch(await daemon.url(path), { method: "POST", headers, body });
  const text = await response.text();
  return { status: response.status, json: text.startsWith("{") ? JSON.parse(text) : {} };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const signed = (body: string, secret = SECRET) => ({
  "x-hub-signature-256": `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`,
});
const syncs = (daemon: Running, mount: string) =>
  daemon.events.filter(([name, { type }]) => name === mount && type === "started").length;

/** Asked for through `/sync` so far, of all mounts. */
const triggers = async (daemon: Running) =>
  Number(
    /^pannier_triggers_total\{by="sync"\} (\d+)$/m.exec((await daemon.get("/metrics")).text)?.[1],
  );

it("syncs when asked to with the token, and tells the outcome to who waits for it", async () => {
  const daemon = await start();
  expect(await post(daemon, "/sync/site", bearer(TOKEN))).toEqual({
    status: 202,
    json: { triggered: ["site"] },
  });
  daemon.source("docs").content = { new: "1" };
  const { status, json } = await post(daemon, "/sync/docs?wait=1", bearer(TOKEN));
  expect(status).toBe(200);
  expect(json).toMatchObject({
    mounts: [{ name: "docs", result: "published", added: 1, deleted: 1 }],
  });
  daemon.source("docs").beforeList = () => {
    throw new SourceError("auth", "wrong password", { transient: false });
  };
  const failed = await post(daemon, "/sync?wait=1", bearer(TOKEN));
  expect(failed.status).toBe(502);
  expect(failed.json).toMatchObject({
    mounts: [
      { name: "site", result: "unchanged" },
      { name: "docs", error: { code: "auth" } },
    ],
  });
  expect((await post(daemon, "/sync/nope", bearer(TOKEN))).status).toBe(404);
});

it("goes back to a kept revision while its sources are out of reach, runs its hooks, and stays there until they change", async () => {
  const folder = scratch();
  writeFileSync(join(folder, "token"), TOKEN);
  const http = httpConfig({ host: "127.0.0.1", port: 0, triggerTokenFile: join(folder, "token") });
  const hook = {
    command: ["/bin/sh", "-c", `cat a >> ${folder}/seen`],
    timeout: 5000,
    env: {},
    retries: 0,
  };
  const config = mountConfig("site", join(folder, "t"), { hooks: { postPublish: [hook] } });
  const daemon = startDaemon(daemonConfig([config], { http }));
  const source = daemon.source("site", { a: "1" });
  const first = await daemon.event("site", "hook");
  source.content = { a: "2" };
  const { json: second } = await post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  await daemon.event("site", "hook", ({ revision }) => revision !== first.revision);
  source.beforeList = () => {
    throw new SourceError("unavailable", "gone", { transient: false });
  };

  expect((await post(daemon, "/rollback/site")).status).toBe(401);
  const unknown = await post(daemon, "/rollback/site?revision=nope", bearer(TOKEN));
  expect(unknown).toMatchObject({
    status: 409,
    json: { error: { message: "revision nope is not kept" } },
  });
  for (const what of ["rollback", "sync"])
    expect(await post(daemon, `/${what}/nope`, bearer(TOKEN))).toEqual({
      status: 404,
      json: { error: 'no mount is called "nope". There is: site' },
    });
  expect(await post(daemon, "/rollback/site", bearer(TOKEN))).toEqual({
    status: 200,
    json: { name: "site", revision: first.revision, added: 0, changed: 1, deleted: 0 },
  });
  expect(await daemon.status("site")).toMatchObject({ revision: first.revision });
  await eventually(() => expect(readFileSync(join(folder, "seen"), "utf8")).toBe("121"));
  expect(second).toMatchObject({ mounts: [{ previousRevision: first.revision }] });

  source.beforeList = () => {};
  const held = await post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  expect(held.json).toMatchObject({ mounts: [{ result: "unchanged", revision: first.revision }] });
  source.content = { a: "3" };
  await post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  expect(readFileSync(join(folder, "t/current/a"), "utf8")).toBe("3");
});

it("shows that somebody rolled back, and holds back what the source holds, seen or not", async () => {
  const daemon = await start();
  const source = daemon.source("site");
  const held = async () =>
    /^pannier_held\{mount="site"\} (\d)$/m.exec((await daemon.get("/metrics")).text)?.[1];
  source.content = { a: "2" };
  await post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  expect([(await daemon.status("site"))["held"], await held()]).toEqual([false, "0"]);
  source.content = { a: "3" };
  expect((await post(daemon, "/rollback/site", bearer(TOKEN))).status).toBe(200);
  expect([(await daemon.status("site"))["held"], await held()]).toEqual([true, "1"]);
  for (let time = 0; time < 2; time++)
    expect((await post(daemon, "/sync/site?wait=1", bearer(TOKEN))).json).toMatchObject({
      mounts: [{ result: "unchanged" }],
    });
  expect(readFileSync(join(daemon.folder, "site/current/a"), "utf8")).toBe("site");
  source.content = { a: "4" };
  await post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  expect(readFileSync(join(daemon.folder, "site/current/a"), "utf8")).toBe("4");
  expect([(await daemon.status("site"))["held"], await held()]).toEqual([false, "0"]);
});

it("counts the failures to open a target from the last good sync on", async () => {
  const daemon = await start();
  const link = join(daemon.folder, "site/current");
  const tree = readlinkSync(link);
  const goBackInVain = async () => {
    rmSync(link);
    writeFileSync(link, "in the way");
    const before = daemon.events.length;
    expect(await post(daemon, "/rollback/site", bearer(TOKEN))).toMatchObject({ status: 409 });
    return eventually(() => {
      const [, failed] =
        daemon.events.slice(before).find(([, { type }]) => type === "failed") ?? [];
      expect(failed).toMatchObject({ error: { name: "TargetError" } });
      return failed;
    });
  };
  expect(await goBackInVain()).toMatchObject({ failures: 1 });
  rmSync(link);
  symlinkSync(tree, link);
  expect((await post(daemon, "/sync/site?wait=1", bearer(TOKEN))).status).toBe(200);
  expect(await goBackInVain()).toMatchObject({ failures: 1 });
});

it("changes nothing for who has not the token", async () => {
  const daemon = await start();
  for (const headers of [{}, bearer("let-me-im"), bearer(""), { authorization: TOKEN }])
    expect(await post(daemon, "/sync", headers)).toEqual({
      status: 401,
      json: { error: "unauthorized: the token of Authorization: Bearer is missing or wrong" },
    });
  // Not even whether a mount is there.
  expect((await post(daemon, "/sync/nope")).status).toBe(401);
  expect((await fetch(await daemon.url("/sync"))).status).toBe(405);
  expect(syncs(daemon, "site")).toBe(1);
});

it("names the setting where no token is configured", async () => {
  const daemon = startDaemon(daemonConfig([mountConfig("site", join(scratch(), "t"))]));
  const { status, json } = await post(daemon, "/rollback/site", bearer(TOKEN));
  expect(status).toBe(401);
  expect(json["error"]).toMatch(/set PANNIER_TRIGGER_TOKEN_FILE or http\.triggerTokenFile/);
});

it("reads the token again at each call, and lets nobody in while there is none", async () => {
  const daemon = await start();
  writeFileSync(join(daemon.folder, "token"), "rotated");
  expect((await post(daemon, "/sync/site", bearer(TOKEN))).status).toBe(401);
  expect((await post(daemon, "/sync/site", bearer("rotated"))).status).toBe(202);
  writeFileSync(join(daemon.folder, "token"), "\n");
  for (const token of ["rotated", "undefined", "\n"])
    expect(
      (await post(daemon, "/sync/site", { authorization: `Bearer ${token.trim()}` })).status,
    ).toBe(401);
});

it("answers a thousand triggers during a sync with exactly one more", async () => {
  const daemon = await start();
  const source = daemon.source("site");
  const held = Promise.withResolvers<void>();
  const begun = new Promise<void>((resolve) => {
    source.beforeList = () => {
      resolve();
      return held.promise;
    };
  });
  await post(daemon, "/sync/site", bearer(TOKEN));
  await begun;
  const url = await daemon.url("/sync/site");
  // A thousand at full scale; a taste of them otherwise.
  for (let batch = 0; batch < (FULL ? 20 : 4); batch++)
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        const response = await fetch(url, { method: "POST", headers: bearer(TOKEN) });
        expect(response.status).toBe(202);
        await response.arrayBuffer();
      }),
    );
  const asked = (await triggers(daemon)) + 1;
  const waiting = post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  await eventually(async () => expect(await triggers(daemon)).toBe(asked));
  source.beforeList = () => {};
  source.content = { late: "1" };
  held.resolve();
  // The one that was under way has seen the source as it was when it was listed; who waits is told of the next.
  expect((await waiting).json).toMatchObject({ mounts: [{ name: "site" }] });
  // Another one would have begun before this is answered.
  await post(daemon, "/sync/docs?wait=1", bearer(TOKEN));
  expect(syncs(daemon, "site")).toBe(3);
});

const push = JSON.stringify({
  ref: "refs/heads/main",
  repository: {
    clone_url: "https://git.example.com/web/site.git",
    ssh_url: "git@git.example.com:web/site.git",
  },
});

const bitbucket = JSON.stringify({
  repository: { links: { html: { href: "https://git.example.com/web/site" } } },
});
const hmac = (body: string, secret = SECRET) =>
  createHmac("sha256", secret).update(body).digest("hex");
const bitbucketSigned = (body: string, secret?: string) => ({
  "x-hub-signature": `sha256=${hmac(body, secret)}`,
});
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`,
});

const form = new URLSearchParams({ payload: push }).toString();

it.each([
  ["github", push, signed(push)],
  [
    "github",
    form,
    { ...signed(form), "content-type": "application/x-www-form-urlencoded; charset=utf-8" },
  ],
  [
    "gitlab",
    JSON.stringify({ project: { git_http_url: "https://git.example.com/web/site.git" } }),
    { "x-gitlab-token": SECRET },
  ],
  [
    "gitlab",
    JSON.stringify({ project: { git_ssh_url: "ssh://git@git.example.com:2222/Web/Site.git" } }),
    { "x-gitlab-token": SECRET },
  ],
  ["bitbucket", bitbucket, bitbucketSigned(bitbucket)],
  ["gitea", push, { "x-gitea-signature": hmac(push) }],
  [
    "azure-devops",
    JSON.stringify({
      eventType: "git.push",
      resource: { repository: { remoteUrl: "https://git.example.com/web/site.git" } },
    }),
    basic("anybody", SECRET),
  ],
  ["generic?mount=site", "", bearer(SECRET)],
  ["generic?mount=site", "x", signed("x")],
])("a %s webhook syncs the mounts of its repository", async (path, body, headers) => {
  const daemon = await start();
  expect(await post(daemon, `/hooks/${path}`, headers, body)).toEqual({
    status: 202,
    json: { triggered: ["site"] },
  });
  await daemon.event("site", "done", ({ result }) => result.result === "unchanged");
  expect(syncs(daemon, "docs")).toBe(1);
});

it("a generic webhook without names syncs all mounts; a ping, and other repositories, none", async () => {
  const daemon = await start();
  expect((await post(daemon, "/hooks/generic", bearer(SECRET))).json).toEqual({
    triggered: ["site", "docs"],
  });
  const other = push.replaceAll("web/site", "web/other");
  expect((await post(daemon, "/hooks/github", signed(other), other)).json).toEqual({
    triggered: [],
  });
  const ping = { ...signed(push), "x-github-event": "ping" };
  expect((await post(daemon, "/hooks/github", ping, push)).json).toEqual({ triggered: [] });
});

it.each([
  ["github", {}],
  ["github", signed(push, "wrong")],
  ["github", { "x-hub-signature-256": "sha256=" }],
  [
    "github",
    { "x-hub-signature": `sha1=${createHmac("sha1", SECRET).update(push).digest("hex")}` },
  ],
  ["github", bearer(SECRET)],
  ["gitlab", { "x-gitlab-token": "hookee" }],
  ["gitlab", {}],
  ["bitbucket", bitbucketSigned(push, "wrong")],
  ["bitbucket", {}],
  ["bitbucket", { "x-hub-signature": hmac(push) }],
  ["gitea", { "x-gitea-signature": hmac(push, "wrong") }],
  ["gitea", { "x-gitea-signature": "" }],
  ["gitea", {}],
  ["azure-devops", basic("anybody", "hookee")],
  ["azure-devops", basic(SECRET, "")],
  ["azure-devops", { authorization: `Basic ${Buffer.from(SECRET).toString("base64")}` }],
  ["azure-devops", {}],
  ["generic", bearer("hooke")],
  ["generic", { ...bearer(SECRET), "x-hub-signature-256": "" }],
  ["generic", { ...bearer(SECRET), ...signed("another body") }],
])("a %s webhook with %j changes nothing", async (forge, headers) => {
  const daemon = await start();
  expect(await post(daemon, `/hooks/${forge}`, headers, push)).toEqual({
    status: 401,
    json: { error: "unauthorized" },
  });
  expect(await post(daemon, `/hooks/${forge}`, headers, "{ no json")).toMatchObject({
    status: 401,
  });
  // What they had asked for would have begun before this is answered.
  await post(daemon, "/sync/docs?wait=1", bearer(TOKEN));
  expect([syncs(daemon, "site"), syncs(daemon, "docs")]).toEqual([1, 2]);
});

it("believes a body that is too long to be held, and syncs all mounts for it", async () => {
  const daemon = await start();
  const body = push.replace("}", `, "padding": "${"x".repeat(2_000_000)}" }`);
  expect(await post(daemon, "/hooks/github", signed(body, "wrong"), body)).toMatchObject({
    status: 401,
  });
  expect(await post(daemon, "/hooks/github", signed(body), body)).toEqual({
    status: 202,
    json: { triggered: ["site", "docs"] },
  });
});

it.each([
  ["no secret is configured", {}, undefined],
  ["the headers show nothing", {}, SECRET],
  ["the token is wrong", { "x-gitlab-token": "hookee" }, SECRET],
])("answers before the body has come where %s", async (_, headers, secret) => {
  const folder = scratch();
  if (secret !== undefined) writeFileSync(join(folder, "secret"), secret);
  const http = httpConfig({
    host: "127.0.0.1",
    port: 0,
    webhookSecretFile: join(folder, "secret"),
  });
  const daemon = startDaemon(daemonConfig([mountConfig("site", join(folder, "t"))], { http }));
  const { hostname, port } = new URL(await daemon.url("/"));
  const socket = connect(Number(port), hostname);
  const lines = Object.entries({ host: hostname, "content-length": "1000", ...headers });
  socket.write(
    `POST /hooks/${"x-gitlab-token" in headers ? "gitlab" : "github"} HTTP/1.1\r\n${lines.map((line) => `${line.join(": ")}\r\n`).join("")}\r\n`,
  );
  const [answer] = (await once(socket, "data")) as [Buffer];
  socket.destroy();
  expect(answer.toString()).toMatch(/^HTTP\/1.1 401 /);
});

it("does not let bodies that do not come keep out one that does", async () => {
  const daemon = await start();
  const { hostname, port } = new URL(await daemon.url("/"));
  const ended: Promise<unknown>[] = [];
  for (let index = 0; index < 10; index++) {
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    onTestFinished(() => void socket.destroy());
    ended.push(once(socket, "close"));
    const headers = `host: x\r\ncontent-length: 1000\r\n${Object.entries(signed(push)).flat().join(": ")}`;
    socket.write(`POST /hooks/github HTTP/1.1\r\n${headers}\r\n\r\n{`);
    await once(socket, "connect");
  }
  expect(await post(daemon, "/hooks/github", signed(push), push)).toMatchObject({ status: 202 });
  // Those that had their turn and did not use it.
  await Promise.race(ended);
});

it.each(["/sync", "/hooks/github", "/livez", "/nope"])(
  "reads no long body that it does not want: POST %s",
  async (path) => {
    const daemon = await start();
    const { hostname, port } = new URL(await daemon.url("/"));
    const socket = connect(Number(port), hostname);
    socket.on("error", () => {});
    socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n`);
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1.1 (401|405|404) /);
    await new Promise((resolve) => socket.once("close", resolve));
  },
);

it("does not take in a body without end", async () => {
  const daemon = await start();
  const body = "x".repeat(25_000_001);
  expect((await post(daemon, "/hooks/github", signed(body), body)).status).toBe(413);
  // Nor one whose length is not told.
  const { host, hostname, port } = new URL(await daemon.url("/"));
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  socket.write(
    `POST /hooks/github HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\nX-Hub-Signature-256: sha256=${"0".repeat(64)}\r\n\r\n`,
  );
  const chunk = `100000\r\n${"x".repeat(1 << 20)}\r\n`;
  // What waits to be sent counts as written.
  const pump = setInterval(() => {
    if (socket.writableLength === 0) socket.write(chunk);
  }, 1);
  await new Promise((resolve) => socket.once("close", resolve));
  clearInterval(pump);
  expect(socket.bytesWritten).toBeLessThan(100_000_000);
});

it("tells nobody about what is not there, nor about itself", async () => {
  const daemon = await start();
  for (const path of [
    "/nope",
    "/sync/../etc/passwd",
    "/assets/..%2f..%2fpackage.json",
    "/assets/x",
    "/history/nope",
    "/hooks/nope",
    "/livez/x",
    "/.git/config",
    "/%00",
    "//x",
  ]) {
    const { status, text } = await daemon.get(path);
    expect([404, 405], path).toContain(status);
    expect(text).not.toContain(daemon.folder);
  }
  const response = await fetch(await daemon.url("/status"));
  expect(Object.fromEntries(response.headers)).toMatchObject({
    "content-security-policy": expect.stringContaining("default-src 'none'"),
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
  });
  expect(response.headers.has("x-powered-by")).toBe(false);
  expect(response.headers.has("access-control-allow-origin")).toBe(false);
  const text = await response.text();
  for (const secret of [TOKEN, SECRET, daemon.folder]) expect(text).not.toContain(secret);
});

it("counts and measures what happens", async () => {
  const daemon = await start({
    postPublish: [{ command: ["/bin/false"], timeout: 5000, env: {}, retries: 0 }],
  });
  await daemon.event("site", "hook");
  const source = daemon.source("docs");
  source.beforeList = () => {
    throw new SourceError("auth", 'say "no"\n', { transient: false });
  };
  await post(daemon, "/sync/docs?wait=1", bearer(TOKEN));
  const { text } = await daemon.get("/metrics");
  const value = (series: string) =>
    Number(
      text
        .split("\n")
        .find((line) => line.startsWith(`${series} `))
        ?.split(" ")
        .at(-1),
    );
  expect(value('pannier_syncs_total{mount="docs",result="published"}')).toBe(1);
  expect(value('pannier_syncs_total{mount="docs",result="failed"}')).toBe(1);
  expect(value('pannier_source_errors_total{mount="docs",code="auth"}')).toBe(1);
  expect(value('pannier_sync_duration_seconds_count{mount="docs"}')).toBe(2);
  expect(value('pannier_sync_duration_seconds_bucket{mount="docs",le="+Inf"}')).toBe(2);
  expect(value('pannier_consecutive_failures{mount="docs"}')).toBe(1);
  expect(value('pannier_tree_files{mount="site"}')).toBe(1);
  expect(value('pannier_tree_bytes{mount="site"}')).toBe(4);
  expect(value('pannier_received_bytes_total{mount="site"}')).toBe(4);
  expect(value('pannier_volume_free_bytes{mount="site"}')).toBeGreaterThan(0);
  expect(value('pannier_last_success_timestamp_seconds{mount="site"}')).toBeCloseTo(
    Date.now() / 1000,
    -2,
  );
  expect(value('pannier_last_publish_timestamp_seconds{mount="site"}')).toBeCloseTo(
    Date.now() / 1000,
    -2,
  );
  expect(value('pannier_source_requests_total{mount="site",operation="list"}')).toBe(1);
  expect(value('pannier_hook_runs_total{mount="site",hook="postPublish",result="failure"}')).toBe(
    1,
  );
  expect(text).toMatch(/^pannier_revision_info\{mount="site",revision="[0-9a-f]{40}"\} 1$/m);
  expect(value('pannier_build_info{version="1.2.3"}')).toBe(1);
  // Each line is a comment or a sample, each family has its type, and none comes twice.
  for (const line of text.trimEnd().split("\n"))
    expect(line).toMatch(
      /^# (HELP|TYPE) |^[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+]+|NaN)$/,
    );
  const types = Array.from(text.matchAll(/^# TYPE (\S+)/gm), ([, name]) => name);
  expect(new Set(types).size).toBe(types.length);
});

it("shows what each revision changed", async () => {
  const daemon = await start();
  daemon.source("site").content = { a: "changed", b: "added" };
  await post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  const { history } = JSON.parse((await daemon.get("/history/site")).text) as {
    history: unknown[];
  };
  expect(history).toMatchObject([
    {
      added: 1,
      changed: 1,
      deleted: 0,
      published: true,
      changes: [
        { change: "changed", path: "a" },
        { change: "added", path: "b" },
      ],
    },
    { published: false, kept: true, changes: [{ change: "added", path: "a" }] },
  ]);
});

it("has attempts that failed, were refused and were held back in the history", async () => {
  const daemon = await start();
  const site = daemon.source("site");
  const sync = () => post(daemon, "/sync/site?wait=1", bearer(TOKEN));
  const attempts = async () =>
    (JSON.parse((await daemon.get("/history/site")).text) as { attempts: unknown[] }).attempts;
  expect(await attempts()).toEqual([]);

  site.beforeList = () => {
    throw new SourceError("auth", "the server did not accept the password", { transient: false });
  };
  await sync();
  await sync();
  site.beforeList = () => {};
  site.content = { a: "2" };
  await sync();
  await post(daemon, "/rollback/site", bearer(TOKEN));
  await sync();
  site.content = {};
  await sync();

  expect(await attempts()).toMatchObject([
    { kind: "refused", code: "refused", count: 1 },
    { kind: "held" },
    { kind: "failed", code: "auth", count: 2, message: "the server did not accept the password" },
  ]);
});

it("sends what happens to those who listen", async () => {
  const daemon = await start();
  const stopped = new AbortController();
  const response = await fetch(await daemon.url("/events"), { signal: stopped.signal });
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  let text = "";
  const decoder = new TextDecoder();
  daemon.source("site").content = { b: "2" };
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    if (text === "") await post(daemon, "/sync/site", bearer(TOKEN));
    text += decoder.decode(part, { stream: true });
    if (/"name":"site"[^\n]*"bytes":1,/.test(text)) break;
  }
  stopped.abort();
  expect(text).toMatch(/^retry: 2000\n\n/);
  // An open stream does not keep the daemon from ending.
  const other = await fetch(await daemon.url("/events"));
  expect(await daemon.stop()).toBe(0);
  await other.body?.cancel().catch(() => {});
});

it("says that a port is taken", async () => {
  const first = await start();
  const { port } = new URL(await first.url("/"));
  const http = httpConfig({ host: "127.0.0.1", port: Number(port) });
  const second = startDaemon(daemonConfig([mountConfig("x", join(scratch(), "t"))], { http }));
  await expect(second.exit).rejects.toThrow(/cannot be opened \(EADDRINUSE\)/);
});
