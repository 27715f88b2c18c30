/**
 * A small server of releases, in memory, on 127.0.0.1, after the public APIs of GitHub (https://docs.github.com/en/rest/releases), GitLab
 * (https://docs.gitlab.com/api/releases/) and Gitea (https://docs.gitea.com/api). One repository, seen by all three.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listenOnLoopback } from "../../../test/support/loopback.ts";

interface TestRelease {
  readonly tag: string;
  readonly assets: Readonly<Record<string, string | Uint8Array>>;
  readonly prerelease?: boolean;
  readonly draft?: boolean;
  /** Of GitLab: it has a date that is still to come. */
  readonly upcoming?: boolean;
}

export interface ForgeServer {
  readonly port: number;
  readonly origin: string;
  /** What was asked for. */
  readonly log: {
    readonly path: string;
    readonly status: number;
    readonly headers: IncomingMessage["headers"];
  }[];
  /** The latest one first. */
  releases: TestRelease[];
  /** Only who has it may see the repository. */
  token: string | undefined;
  /** Origin where the content is. Default: the server itself. */
  storage: string | undefined;
  /** Whether assets have a `digest`, as at GitHub. */
  digests: boolean;
  /** How often something was downloaded; GitHub's answers tell. */
  downloads: number;
  /** Releases of a page. */
  pageSize: number;
  /** Answers a request in the server's place. */
  intercept: ((path: string, response: ServerResponse) => boolean) | undefined;
  close(): Promise<void>;
}

const REPOSITORY = "org/repo";

export async function startForge(): Promise<ForgeServer> {
  const server = createServer((request, response) => {
    response.on("finish", () => {
      const { url = "", headers } = request;
      self.log.push({ path: url, status: response.statusCode, headers });
    });
    answer(self, request, response);
  });
  const self: ForgeServer = {
    port: 0,
    origin: "",
    log: [],
    releases: [],
    token: undefined,
    storage: undefined,
    digests: true,
    downloads: 0,
    pageSize: 50,
    intercept: undefined,
    close: async () => {},
  };
  const { port, close } = await listenOnLoopback(server);
  return Object.assign(self, { port, close, origin: `http://127.0.0.1:${port}` });
}

function answer(self: ForgeServer, request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", `http://${request.headers.host}`);
  const { pathname } = url;
  if (self.intercept?.(request.url ?? "", response) === true) return;
  if (pathname.startsWith("/storage/")) {
    const content = contentOf(self, pathname.slice("/storage/".length));
    if (content === undefined) return void response.writeHead(404).end();
    return send(request, response, content);
  }
  const isAllowed =
    self.token === undefined || request.headers.authorization === `Bearer ${self.token}`;
  const [, api] =
    /^\/api\/(v1\/repos|v3\/repos|v4\/projects)\//.exec(pathname) ??
    /^\/org\/repo\/(releases)\/download\//.exec(pathname) ??
    [];
  if (api === undefined || !isAllowed)
    return json(request, response, 404, { message: "Not Found" });
  if (api === "releases" || pathname.includes("/assets/")) {
    const [, id = ""] = /\/(?:assets|download)\/([^/]+)/.exec(pathname) ?? [];
    if (pathname.includes("/assets/") && request.headers.accept !== "application/octet-stream")
      return json(request, response, 200, { id });
    // Pages do not know tokens.
    if (api === "releases" && self.token !== undefined) return json(request, response, 404, {});
    const location = `${self.storage ?? url.origin}/storage/${id}?X-Amz-Signature=signed`;
    return void response.writeHead(302, { location }).end();
  }
  const render = RENDER[api] as Render;
  const visible = self.releases.filter(({ draft }) => draft !== true);
  const [, name] = /\/releases\/(?:tags\/)?([^/]+)$/.exec(pathname) ?? [];
  if (name === undefined) {
    const from = (Number(url.searchParams.get("page") ?? 1) - 1) * self.pageSize;
    const page = self.releases.slice(from, from + self.pageSize);
    const more = from + self.pageSize < self.releases.length;
    const link = more ? { link: '<http://elsewhere/?page=2>; rel="next", <x>; rel="last"' } : {};
    return json(
      request,
      response,
      200,
      page.map((one) => render(self, one, url.origin)),
      link,
    );
  }
  const found =
    name === "latest"
      ? visible.find(({ prerelease }) => prerelease !== true)
      : visible.find(({ tag }) => tag === decodeURIComponent(name));
  if (found === undefined) return json(request, response, 404, { message: "Not Found" });
  json(request, response, 200, render(self, found, url.origin));
}

type Render = (self: ForgeServer, release: TestRelease, origin: string) => object;

const RENDER: Readonly<Record<string, Render>> = {
  "v3/repos": (self, { tag, assets, draft = false, prerelease = false }, origin) => ({
    tag_name: tag,
    draft,
    prerelease,
    assets: Object.entries(assets).map(([name, content]) => ({
      url: "http://never.asked/",
      browser_download_url: `${origin}/${REPOSITORY}/releases/download/${idOf(tag, name, content)}/${name}`,
      id: idOf(tag, name, content),
      name,
      size: Buffer.byteLength(content),
      digest: self.digests ? `sha256:${sha256(content)}` : null,
      download_count: self.downloads,
      updated_at: "2026-01-02T03:04:05Z",
    })),
  }),
  "v1/repos": (self, { tag, assets, draft = false, prerelease = false }) => ({
    tag_name: tag,
    draft,
    prerelease,
    assets: Object.entries(assets).map(([name, content], id) => ({
      id,
      uuid: idOf(tag, name, content),
      name,
      size: Buffer.byteLength(content),
      browser_download_url: `${self.storage ?? self.origin}/storage/${idOf(tag, name, content)}`,
    })),
  }),
  "v4/projects": (self, { tag, assets, upcoming = false }) => ({
    tag_name: tag,
    upcoming_release: upcoming,
    assets: {
      count: 1,
      sources: [{ format: "zip", url: "http://never.asked/" }],
      links: Object.entries(assets).map(([name, content], id) => ({
        id,
        name,
        url: `${self.storage ?? self.origin}/storage/${idOf(tag, name, content)}`,
        link_type: "other",
      })),
    },
  }),
};

function contentOf({ releases }: ForgeServer, id: string): Buffer | undefined {
  for (const { tag, assets } of releases)
    for (const [name, content] of Object.entries(assets))
      if (idOf(tag, name, content) === id) return Buffer.from(content);
  return undefined;
}

function idOf(tag: string, name: string, content: string | Uint8Array): string {
  return createHash("sha256").update(`${tag}/${name}/`).update(content).digest("hex").slice(0, 20);
}

export function sha256(content: string | Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function send(
  { headers: { range, "if-match": ifMatch } }: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
): void {
  const etag = `"${sha256(content).slice(0, 16)}"`;
  if (ifMatch !== undefined && ifMatch !== etag) return void response.writeHead(412).end();
  const common = { etag, "accept-ranges": "bytes" };
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  if (first === undefined) {
    response.writeHead(200, { ...common, "content-length": content.length }).end(content);
    return;
  }
  const from = Number(first);
  if (from >= content.length) {
    response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
    return;
  }
  const end = last ? Math.min(Number(last) + 1, content.length) : content.length;
  response.writeHead(206, {
    ...common,
    "content-length": end - from,
    "content-range": `bytes ${from}-${end - 1}/${content.length}`,
  });
  response.end(content.subarray(from, end));
}

function json(
  { headers }: IncomingMessage,
  response: ServerResponse,
  status: number,
  value: unknown,
  more: Record<string, string> = {},
): void {
  const text = JSON.stringify(value);
  const etag = `W/"${sha256(text)}"`;
  if (headers["if-none-match"] === etag) return void response.writeHead(304, { etag }).end();
  response.writeHead(status, { "content-type": "application/json", etag, ...more }).end(text);
}
