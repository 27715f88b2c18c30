/** The questions that are asked of the Hub: https://huggingface.co/docs/hub/api. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import {
  type Authorize,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  readJson,
} from "@pannier/http-client";
import type { Address } from "./address.ts";
import { refusal } from "./errors.ts";

/** What a repository holds at a path. */
export interface Item {
  readonly type: string;
  readonly path: string;
  readonly size: number;
  /** Of the blob in git; for a file in large storage, that of its pointer. */
  readonly oid: string;
  /** Of a file in large storage. */
  readonly lfs?: { readonly oid: string; readonly size: number } | undefined;
}

export interface Hub {
  /** The commit that the revision stands for now. */
  commit(signal: AbortSignal): Promise<string>;
  /** What there is at the address's path. @throws SourceError `not-found` */
  itself(commit: string, signal: AbortSignal): Promise<Item>;
  /** A page of all that is below the address's path. */
  page(
    commit: string,
    cursor: string | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly items: readonly Item[]; readonly next: string | undefined }>;
  /** Asks for a file's content. The answer may be a redirect, which is not followed. @throws SourceError on a refusal */
  file(commit: string, path: string, request: HttpRequest): Promise<HttpResponse>;
  /** As {@link Hub.file}, where a redirect led to. */
  follow(url: URL, path: string, request: HttpRequest): Promise<HttpResponse>;
}

export interface HubInit {
  readonly address: Address;
  readonly endpoint: URL;
  readonly client: HttpClient;
  readonly authorize: Authorize;
}

/** A page has a thousand files, of a few hundred bytes each. */
const LONGEST_ANSWER = { size: 16 << 20, values: 100_000 };
/** To a question for a file's content. */
export const ANSWERS: readonly number[] = [200, 206, 416];
/** A file in large storage is answered by one. */
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

export function createHub({ address, endpoint, client, authorize }: HubInit): Hub {
  const { kind, repository, revision, path } = address;
  const api = `${endpoint.href.replace(/\/$/, "")}/api/${kind}/${repository}`;
  const files = `${endpoint.href.replace(/\/$/, "")}/${kind === "models" ? "" : `${kind}/`}${repository}/resolve`;

  async function ask(
    url: URL,
    what: string,
    request: HttpRequest,
    expected: readonly number[],
  ): Promise<HttpResponse> {
    const response = await client.request(url, { ...request, expect: "any" });
    if (expected.includes(response.status)) return response;
    await response.discard();
    const signedIn = (await authorize(url))["authorization"] !== undefined;
    throw refusal(response, address, what, signedIn);
  }

  async function askJson(url: URL, request: HttpRequest) {
    const headers = { accept: "application/json", ...request.headers };
    const response = await ask(url, "", { ...request, headers }, [200]);
    const json = await readJson(response.body, LONGEST_ANSWER, notHub);
    return { json, headers: response.headers };
  }

  function content(url: URL, name: string, request: HttpRequest): Promise<HttpResponse> {
    const asked = { ...request, redirect: "manual" } as const;
    return ask(url, quotePath(name), asked, [...ANSWERS, ...REDIRECTS]);
  }

  return {
    async commit(signal) {
      const url = new URL(`${api}/revision/${encodeURIComponent(revision)}?expand=sha`);
      const { json } = await askJson(url, { operation: "probe", signal });
      const { sha } = (json ?? {}) as { readonly sha?: unknown };
      if (typeof sha !== "string" || !isOid(sha)) throw notHub();
      return sha;
    },

    async itself(commit, signal) {
      const { json } = await askJson(new URL(`${api}/paths-info/${commit}`), {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ paths: [path], expand: false }),
        operation: "list",
        signal,
      });
      const item = itemsOf(json).find((one) => one.path === path);
      if (item !== undefined) return item;
      throw new SourceError("not-found", `${quotePath(path)} does not exist in ${repository}`, {
        reached: "signed-in",
      });
    },

    async page(commit, cursor, signal) {
      const below = path === "" ? "" : `/${encodePath(path)}`;
      const url = new URL(`${api}/tree/${commit}${below}?recursive=true&expand=false`);
      if (cursor !== undefined) url.searchParams.set("cursor", cursor);
      const { json, headers } = await askJson(url, { operation: "list", signal });
      return { items: itemsOf(json), next: nextCursor(headers["link"]) };
    },

    file(commit, name, request) {
      return content(new URL(`${files}/${commit}/${encodePath(name)}`), name, request);
    },

    follow: content,
  };
}

function itemsOf(json: unknown): readonly Item[] {
  if (!Array.isArray(json) || !json.every(isItem)) throw notHub();
  return json;
}

function isItem(value: unknown): value is Item {
  const { type, path, size, oid, lfs } = (value ?? {}) as Partial<Record<keyof Item, unknown>>;
  if (typeof type !== "string" || typeof path !== "string") return false;
  if (type !== "file") return true;
  const large = lfs as Partial<Record<"oid" | "size", unknown>> | null | undefined;
  if (typeof oid !== "string" || !isOid(oid) || !isSize(size)) return false;
  if (large === undefined || large === null) return true;
  return typeof large.oid === "string" && /^[0-9a-f]{64}$/.test(large.oid) && isSize(large.size);
}

/** The name of an object in git, or the SHA-256 of a file in large storage. */
export function isOid(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text);
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Only the cursor is taken: behind a proxy the URL beside it may be one that leads elsewhere. */
function nextCursor(link: string | undefined): string | undefined {
  const target = /<([^>]*)>\s*;\s*rel="?next"?/i.exec(link ?? "")?.[1];
  if (target === undefined) return undefined;
  const cursor = URL.parse(target, "http://hub/")?.searchParams.get("cursor");
  if (!cursor) throw notHub();
  return cursor;
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

function notHub(cause?: unknown): SourceError {
  return new SourceError("invalid", "the answer is not one of a Hugging Face Hub", {
    hint: "check HF_ENDPOINT, or the option endpoint",
    cause,
  });
}
