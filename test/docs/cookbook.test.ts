/** Each configuration of the cookbook, run once against servers of the test's own. */
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import tar from "tar-stream";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type ApiServer, startApiServer } from "../../packages/adapter-k8s/test/api-server.ts";
import { kubeconfigFor } from "../../packages/adapter-k8s/test/stores.ts";
import { startS3Server, type S3Server } from "../../packages/adapter-s3/test/s3-server.ts";
import { main } from "../../packages/cli/src/main.ts";
import { type GitServer, gitVersion, startGitServer } from "../support/git-server.ts";
import { openRegistry, type TestRegistry } from "../support/registry.ts";
import { readTree } from "../support/tree.ts";
import { page } from "./pages.ts";

const RECIPES = new Map(
  Array.from(
    page("docs/cookbook.md").text.matchAll(/^## (.*)\n[^]*?^```yaml recipe\n([^]*?)^```$/gm),
    ([, title = "", text = ""]) => [title, text] as const,
  ),
);
const SITE = {
  "index.html": "<html>Hello</html>",
  "style.css": "body {}",
  "drafts/new.html": "soon",
  "data.json": "{}",
};
const TOKEN = "a-token-of-git";

let folder: string;
let git: GitServer;
let s3: S3Server;
let kube: ApiServer;
let registry: TestRegistry;
let web: { readonly port: number; readonly calls: string[]; close(): void };

beforeAll(async () => {
  if (gitVersion === undefined) return;
  folder = mkdtempSync(join(tmpdir(), "pannier-cookbook-"));
  [git, s3, registry, web, kube] = await Promise.all([
    startGitServer(),
    startS3Server(),
    openRegistry(),
    serveFiles(),
    startApiServer(),
  ]);
  const inPublic = Object.entries(SITE).map(([name, text]) => [`public/${name}`, text]);
  const site = await git.repository("web/site.git");
  await site.commit({ ...Object.fromEntries(inPublic), "README.md": "not published" });
  await (await git.repository("web/overrides.git")).commit({ "style.css": "body { color: teal }" });
  await (await git.repository("web/private.git")).commit({ "secret.txt": "of the team" });
  const basic = `Basic ${Buffer.from(`x-access-token:${TOKEN}`).toString("base64")}`;
  git.intercept = ({ url = "", headers }, response) => {
    if (!url.startsWith("/web/private.git/") || headers.authorization === basic) return false;
    response.writeHead(401, { "www-authenticate": "Basic" }).end();
    return true;
  };
  s3.createBucket("brand-assets");
  s3.put("brand-assets", "logos/logo.svg", Buffer.from("<svg/>"));
  write("run/secrets/git-token", `${TOKEN}\n`);
  write("mnt/share/media/.mounted", "");
  write("mnt/share/media/film.mp4", "a film");
  const metadata = { namespace: "monitoring", labels: { grafana_dashboard: "1" } };
  kube.put("configmaps", {
    metadata: { ...metadata, name: "board", annotations: { "pannier.dev/folder": "team" } },
    data: { "board.json": "{}" },
  });
  kube.put("configmaps", {
    metadata: { ...metadata, namespace: "web", name: "data" },
    data: { "data.json": '{"of":"a team"}' },
  });
  vi.stubEnv("KUBECONFIG", kubeconfigFor(kube.port, { token: "a-token-of-kubernetes" }));
  const image = `oci+http://127.0.0.1:${registry.port}/web/site:live`;
  const media = join(folder, "mnt/share/media");
  const problem = await pannier("push", media, image, "--exclude", ".mounted");
  if (problem !== "") throw new Error(problem);
});

afterAll(async () => {
  await Promise.all([git?.close(), s3?.close(), registry?.close(), kube?.close()]);
  vi.unstubAllEnvs();
  web?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

function write(name: string, content: string): void {
  mkdirSync(dirname(join(folder, name)), { recursive: true });
  writeFileSync(join(folder, name), content);
}

function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

/** Downloads, and what is told of a publish. */
async function serveFiles() {
  const pack = tar.pack();
  pack.entry({ name: "app-1.0/bin/app" }, "#!/bin/sh\n");
  pack.finalize();
  const archive = gzipSync(await buffer(pack));
  const files: Readonly<Record<string, string | Uint8Array>> = {
    "/app.tar.gz": archive,
    "/app.tar.gz.sha256": `${sha256(archive)}  app.tar.gz\n`,
    "/app.json": '{"ready":true}',
    "/packages/SHA256SUMS": `${sha256("one")}  a/one.deb\n`,
    "/packages/a/one.deb": "one",
  };
  const calls: string[] = [];
  const server = createServer(({ method, url = "", headers }, answer) => {
    if (method === "POST") {
      calls.push(`${url} ${headers.authorization}`);
      answer.end();
      return;
    }
    const content = files[url];
    answer
      .writeHead(content === undefined ? 404 : 200, { etag: `"${sha256(content ?? "")}"` })
      .end(content);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, calls, close: () => server.close() };
}

/** Runs `pannier`, and returns what it said where it did not end with 0. */
async function pannier(...args: string[]): Promise<string> {
  let said = "";
  const output = { write: (text: string) => Boolean((said += text)), once: () => {} };
  const code = await main(args, {
    env: { RELOAD_TOKEN: "a-token", PATH: process.env["PATH"], HOME: folder },
    cwd: folder,
    stdout: output,
    stderr: output,
    signals: new EventEmitter(),
  });
  return code === 0 ? "" : `exit code ${code}: ${said}`;
}

/** A recipe as it is, but for where its servers and directories are. */
function here(recipe: string, directory: string): string {
  return recipe
    .replaceAll("https://git.example.com/", `${git.url}/`)
    .replaceAll("https://downloads.example.com/", `http://127.0.0.1:${web.port}/`)
    .replaceAll("http://127.0.0.1:9000/", `http://127.0.0.1:${web.port}/`)
    .replaceAll("oci://registry.example.com/", `oci+http://127.0.0.1:${registry.port}/`)
    .replaceAll("anonymous=true", `anonymous=true&endpoint=http://127.0.0.1:${s3.port}`)
    .replaceAll("/content/", `${directory}/content/`)
    .replaceAll("/run/secrets/", `${folder}/run/secrets/`)
    .replaceAll("/mnt/share/", `${folder}/mnt/share/`);
}

/** What has to be below `/content` afterwards, and what else. */
const RESULTS: Readonly<
  Record<string, { readonly files: readonly string[]; readonly also?: (content: string) => void }>
> = {
  "A website from a branch": { files: Object.keys(SITE).map((name) => `site/current/${name}`) },
  "A private repository": { files: ["private/current/secret.txt"] },
  "A base with overrides": {
    files: Object.keys(SITE).map((name) => `site/current/${name}`),
    also: (content) =>
      expect(readFileSync(join(content, "site/current/style.css"), "utf8")).toContain("teal"),
  },
  "A bucket inside a website": {
    files: [...Object.keys(SITE), "img/logos/logo.svg"].map((name) => `site/current/${name}`),
  },
  "A release archive with a checksum": { files: ["app/current/bin/app"] },
  "A directory of a web server": { files: ["packages/current/a/one.deb"] },
  "One configuration file, without a symlink": { files: ["config/app.json"] },
  "A mounted share": { files: ["media/current/film.mp4"] },
  "Only some files": { files: ["docs/current/index.html", "docs/current/style.css"] },
  "A check before publishing": { files: Object.keys(SITE).map((name) => `site/current/${name}`) },
  "A reload after publishing": {
    files: Object.keys(SITE).map((name) => `site/current/${name}`),
    also: () => expect(web.calls).toEqual(["/-/reload Bearer a-token"]),
  },
  "Many mounts in one sidecar": {
    files: [
      ...Object.keys(SITE).map((name) => `site/current/${name}`),
      "packages/current/a/one.deb",
    ],
  },
  "Limits for content you do not control": {
    files: Object.keys(SITE).map((name) => `uploads/current/${name}`),
  },
  "A tag in a registry": { files: ["site/current/film.mp4"] },
  "A relay to a registry": {
    files: Object.keys(SITE).map((name) => `site/current/${name}`),
    also: () => expect([...registry.manifests.keys()].join()).toMatch(/web\/relayed\W+live/),
  },
  "Dashboards in labeled ConfigMaps": {
    files: [...Object.keys(SITE), "team/board.json"].map((name) => `dashboards/current/${name}`),
    also: (content) => {
      const board = join(content, "dashboards/current/data.json");
      expect(readFileSync(board, "utf8")).toBe('{"of":"a team"}');
      expect(web.calls.at(-1)).toMatch(/^\/-\/dashboards/);
    },
  },
};

/** Every file that a reader finds in the mounts below a directory. */
async function shown(content: string): Promise<string[]> {
  const mounts = readdirSync(content).map(async (mount) => {
    const place = existsSync(join(content, mount, "current")) ? `${mount}/current` : mount;
    const tree = await readTree(join(content, place), ".pannier");
    return [...tree.keys()].map((name) => `${place}/${name}`);
  });
  return (await Promise.all(mounts)).flat().toSorted();
}

test("the cookbook has sixteen recipes, and each is tried", () => {
  expect([...RECIPES.keys()]).toEqual(Object.keys(RESULTS));
  expect(RECIPES.size).toBe(16);
});

test.skipIf(gitVersion === undefined).for([...RECIPES])(
  "%s",
  { meta: { skipReason: "git is not installed" } },
  async ([title, recipe]) => {
    const directory = mkdtempSync(join(folder, "recipe-"));
    const file = join(directory, "pannier.yaml");
    writeFileSync(file, here(recipe, directory));
    expect(await pannier("run", "--once", "--config", file)).toBe("");
    const result = RESULTS[title];
    expect(await shown(join(directory, "content"))).toEqual(result?.files.toSorted());
    result?.also?.(join(directory, "content"));
  },
);
