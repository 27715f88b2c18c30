/**
 * A small Hugging Face Hub, after its public API (https://huggingface.co/docs/hub/api) and what its own client libraries ask of it, in
 * memory, on 127.0.0.1. Files from a size on lie in large storage: they are answered by a redirect.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listenOnLoopback } from "../../../test/support/loopback.ts";

/** Bytes from which a file lies in large storage. */
const LARGE = 4096;
/** Files of a page. */
const PAGE = 1000;

type Tree = ReadonlyMap<string, Buffer>;

interface Repository {
  readonly commits: Map<string, Tree>;
  readonly refs: Map<string, string>;
  token?: string | undefined;
  gated?: boolean | undefined;
}

export interface HubServer {
  readonly port: number;
  readonly endpoint: string;
  /** What was asked for. */
  readonly log: {
    readonly method: string;
    readonly url: URL;
    readonly headers: IncomingMessage["headers"];
  }[];
  /** Origin that large files are fetched from. Default: the one that was asked. */
  storage: string | undefined;
  /** What repositories list beside their files: submodules and the like. */
  others: readonly { readonly type: string; readonly path: string }[];
  /** Answers a request in the server's place. */
  intercept: ((url: URL, response: ServerResponse) => boolean) | undefined;
  /** @param repository `models/org/name` */
  commit(
    repository: string,
    changes: ReadonlyMap<string, Uint8Array | string | undefined>,
    ref?: string,
  ): string;
  /** Only who has the token may see it. */
  protect(repository: string, token: string, gated?: boolean): void;
  /** A repository that was renamed: the old name leads to the new one. */
  rename(from: string, to: string): void;
  close(): Promise<void>;
}

export async function startHub(): Promise<HubServer> {
  const repositories = new Map<string, Repository>();
  const renamed = new Map<string, string>();
  const objects = new Map<string, Buffer>();
  const server = createServer((request, response) => void answer(request, response));

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const host = request.headers.host ?? "";
    const url = new URL(request.url ?? "/", `http://${host}`);
    self.log.push({ method: request.method ?? "", url, headers: request.headers });
    if (self.intercept?.(url, response) === true) return;
    if (url.pathname.startsWith("/storage/")) {
      const content = objects.get(url.pathname.slice("/storage/".length));
      if (content === undefined) return void response.writeHead(404).end();
      // As content networks do, with a tag of their own.
      return send(request, response, content, { etag: '"d41d8cd98f00b204e9800998ecf8427e"' });
    }
    const api =
      /^\/api\/(models|datasets|spaces)\/([^/]+\/[^/]+)\/(revision|tree|paths-info)\/([^/]+)(?:\/(.*))?$/;
    const file = /^\/(?:(datasets|spaces)\/)?([^/]+\/[^/]+)\/(resolve)\/([^/]+)\/(.*)$/;
    const [, kind = "models", name = "", what = "", coded = "", path = ""] =
      api.exec(url.pathname) ?? file.exec(url.pathname) ?? [];
    const id = `${kind}/${name}`;
    const now = renamed.get(id);
    if (now !== undefined) {
      const location = request.url?.replace(name, now.replace(/^[^/]+\//, ""));
      return void response.writeHead(307, { location }).end();
    }
    const repository = repositories.get(id);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const needed = repository?.token;
    if (
      repository === undefined ||
      (needed !== undefined && needed !== token && !repository.gated)
    ) {
      return refuse(response, token === undefined ? 401 : 404, "RepoNotFound");
    }
    const asked = decodeURIComponent(coded);
    const commit = repository.refs.get(asked) ?? asked;
    const tree = repository.commits.get(commit);
    if (tree === undefined) return refuse(response, 404, "RevisionNotFound");
    if (what === "revision") return json(response, { id: name, sha: commit });
    if (what === "tree") return list(response, url, tree, decodeURIComponent(path), self.others);
    if (what === "paths-info") {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += String(chunk);
      const { paths } = JSON.parse(body) as { paths: string[] };
      return json(
        response,
        paths.flatMap((one) => itemAt(tree, one)),
      );
    }
    if (needed !== undefined && needed !== token) {
      return refuse(response, token === undefined ? 401 : 403, "GatedRepo");
    }
    const content = tree.get(decodeURIComponent(path));
    if (content === undefined) return refuse(response, 404, "EntryNotFound");
    const headers = { "x-repo-commit": commit };
    if (content.length < LARGE) {
      return send(request, response, content, { ...headers, etag: `"${gitOid(content)}"` });
    }
    const oid = sha256(content);
    objects.set(oid, content);
    response.writeHead(302, {
      ...headers,
      location: `${self.storage ?? url.origin}/storage/${oid}?X-Amz-Signature=signed`,
      "x-linked-etag": `"${oid}"`,
      "x-linked-size": content.length,
      etag: `"${gitOid(pointer(content))}"`,
    });
    response.end();
  }

  const self: HubServer = {
    port: 0,
    endpoint: "",
    log: [],
    storage: undefined,
    others: [],
    intercept: undefined,
    commit(id, changes, ref = "main") {
      const repository: Repository = repositories.get(id) ?? {
        commits: new Map(),
        refs: new Map(),
      };
      repositories.set(id, repository);
      const tree = new Map(repository.commits.get(repository.refs.get(ref) ?? ""));
      for (const [path, content] of changes) {
        if (content === undefined) tree.delete(path);
        else tree.set(path, Buffer.from(content));
      }
      const commit = createHash("sha1").update(`${id} ${repository.commits.size}`).digest("hex");
      repository.commits.set(commit, tree);
      repository.refs.set(ref, commit);
      return commit;
    },
    protect(id, token, gated = false) {
      const repository = repositories.get(id);
      if (repository !== undefined) Object.assign(repository, { token, gated });
    },
    rename(from, to) {
      repositories.set(to, repositories.get(from) as Repository);
      repositories.delete(from);
      renamed.set(from, to);
    },
    close: async () => {},
  };
  const { port, close } = await listenOnLoopback(server);
  return Object.assign(self, { port, close, endpoint: `http://127.0.0.1:${port}` });
}

function list(
  response: ServerResponse,
  url: URL,
  tree: Tree,
  path: string,
  others: HubServer["others"],
): void {
  const prefix = path === "" ? "" : `${path}/`;
  const directories = new Set<string>();
  for (const name of tree.keys()) {
    for (let at = name.indexOf("/", prefix.length); at !== -1; at = name.indexOf("/", at + 1)) {
      if (name.startsWith(prefix)) directories.add(name.slice(0, at));
    }
  }
  const names = [...directories, ...[...tree.keys()].filter((name) => name.startsWith(prefix))];
  if (names.length === 0 && path !== "") return refuse(response, 404, "EntryNotFound");
  const from = Number(url.searchParams.get("cursor") ?? 0);
  const next = new URL(url);
  next.searchParams.set("cursor", String(from + PAGE));
  const more = from + PAGE < names.length;
  json(
    response,
    [
      ...(from === 0 ? others : []),
      ...names.slice(from, from + PAGE).flatMap((name) => itemAt(tree, name)),
    ],
    more ? { link: `<${next.href}>; rel="next"` } : {},
  );
}

function itemAt(tree: Tree, path: string): object[] {
  const content = tree.get(path);
  if (content === undefined) {
    const isDirectory = [...tree.keys()].some((name) => name.startsWith(`${path}/`));
    return isDirectory ? [{ type: "directory", oid: "0".repeat(40), size: 0, path }] : [];
  }
  if (content.length < LARGE) {
    return [{ type: "file", oid: gitOid(content), size: content.length, path }];
  }
  const text = pointer(content);
  const lfs = { oid: sha256(content), size: content.length, pointerSize: text.length };
  return [{ type: "file", oid: gitOid(text), size: content.length, path, lfs }];
}

/** https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
function pointer(content: Buffer): Buffer {
  return Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${sha256(content)}\nsize ${content.length}\n`,
  );
}

function send(
  { headers: { range }, method }: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  headers: Record<string, string>,
): void {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? [];
  let body = content;
  if (first === undefined) response.writeHead(200, { ...headers, "content-length": body.length });
  else {
    const from = Number(first);
    if (from >= content.length) {
      response.writeHead(416, { "content-range": `bytes */${content.length}` });
      return void response.end();
    }
    const end = last ? Math.min(Number(last) + 1, content.length) : content.length;
    body = content.subarray(from, end);
    response.writeHead(206, {
      ...headers,
      "content-length": body.length,
      "content-range": `bytes ${from}-${end - 1}/${content.length}`,
    });
  }
  response.end(method === "HEAD" ? undefined : body);
}

function json(
  response: ServerResponse,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(200, { "content-type": "application/json; charset=utf-8", ...headers });
  response.end(JSON.stringify(value));
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "x-error-code": code, "x-error-message": `no: ${code}` });
  response.end(JSON.stringify({ error: code }));
}

function gitOid(content: Buffer): string {
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
