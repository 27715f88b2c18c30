/** The questions that are asked of the API server: https://kubernetes.io/docs/reference/using-api/api-concepts/. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, readJson } from "@pannier/http-client";
import type { Resource } from "./address.ts";
import {
  notApi,
  notJson,
  parseJson,
  type Question,
  refusal,
  refusalOf,
  type Status,
  reasonOf,
} from "./errors.ts";
import { type ListMeta, LONGEST_OBJECT, readItems } from "./items.ts";
import { type KubeObject, objectOf } from "./objects.ts";

/** The objects that one request is about. */
export interface Scope {
  /** `undefined`: of all namespaces. */
  readonly namespace: string | undefined;
}

export interface Api {
  /**
   * The objects, page by page, as they all were at one moment.
   *
   * @returns the resourceVersion of that moment
   * @throws GoneError where it took so long that the server forgot that moment
   */
  list(scope: Scope, signal: AbortSignal): AsyncGenerator<KubeObject, string>;
  /** The resourceVersion of now. */
  now(scope: Scope, signal: AbortSignal): Promise<string>;
  /** What happens to the objects after a resourceVersion; ends when the server ends it. @throws GoneError where that is too long ago */
  watch(
    scope: Scope,
    from: string,
    how: WatchInit,
    signal: AbortSignal,
  ): Promise<AsyncIterable<WatchEvent>>;
  get(id: string, signal: AbortSignal): Promise<KubeObject>;
}

interface WatchEvent {
  /** What is deleted may be there still, and be selected no more. A bookmark says that until then nothing else happened. */
  readonly type: "changed" | "deleted" | "bookmark";
  readonly resourceVersion: string;
  /** The object as it came: see {@link objectOf}. */
  readonly object: unknown;
}

interface WatchInit {
  readonly client: HttpClient;
  /** After which the server is asked to end it. */
  readonly seconds: number;
  readonly operation: string;
  /** Whether the objects come with their content. */
  readonly content: boolean;
}

export interface ApiInit {
  /** Base URL. */
  readonly server: URL;
  readonly client: HttpClient;
  readonly resource: Resource;
  readonly selector: string | undefined;
  readonly name: string | undefined;
}

/** Objects of a page, as kubectl asks for. */
const PAGE = 500;
/** Its fields' owners are objects within objects. */
const OF_OBJECT = { size: LONGEST_OBJECT, values: 1_000_000 };
/** Bytes of an event beside its object. */
const EVENT = 1024;
const NEWLINE = 0x0a;

const JSON_TYPE = "application/json";
/** Metadata without the content, of a list and of what a watch tells: API concepts, "Metadata-only fetches". */
const METADATA_LIST = `${JSON_TYPE};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1`;
const METADATA = `${JSON_TYPE};as=PartialObjectMetadata;g=meta.k8s.io;v=v1`;

export function createApi({ server, client, resource, selector, name }: ApiInit): Api {
  const base = `${server.origin}${server.pathname.replace(/\/$/, "")}/api/v1`;

  function collection({ namespace }: Scope, query: Readonly<Record<string, string>>): URL {
    const inside = namespace === undefined ? "" : `/namespaces/${namespace}`;
    const url = new URL(`${base}${inside}/${resource}`);
    if (selector !== undefined) url.searchParams.set("labelSelector", selector);
    if (name !== undefined) url.searchParams.set("fieldSelector", `metadata.name=${name}`);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    return url;
  }

  const question = (verb: Question["verb"], { namespace }: Scope): Question => ({
    verb,
    resource,
    namespace,
    name,
  });

  return {
    async *list(scope, signal) {
      let token = "";
      let version: string | undefined;
      do {
        const url = collection(scope, {
          limit: String(PAGE),
          ...(token !== "" && { continue: token }),
        });
        const accept = JSON_TYPE;
        const asked = question("list", scope);
        const response = await ask(client, url, asked, { accept, operation: "list" }, signal);
        const items = readItems(response.body);
        let meta: ListMeta;
        for (;;) {
          const next = await items.next();
          if (next.done === true) {
            meta = next.value;
            break;
          }
          yield objectOf(next.value, resource);
        }
        version = versionOf(meta);
        const more = meta.continue ?? "";
        if (typeof more !== "string" || (more !== "" && more === token)) throw notApi();
        token = more;
      } while (token !== "");
      return version;
    },

    async now(scope, signal) {
      const url = collection(scope, { limit: "1" });
      const asked = question("list", scope);
      const request = { accept: METADATA_LIST, operation: "probe" };
      const response = await ask(client, url, asked, request, signal);
      const items = readItems(response.body);
      for (;;) {
        const next = await items.next();
        if (next.done === true) return versionOf(next.value);
      }
    },

    async watch(scope, from, { client: by, seconds, operation, content }, signal) {
      const url = collection(scope, {
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion: from,
        timeoutSeconds: String(seconds),
      });
      const asked = question("watch", scope);
      // It hardly moves, and should not.
      const request = { accept: content ? JSON_TYPE : METADATA, operation, paced: false };
      const response = await ask(by, url, asked, request, signal);
      return eventsOf(response.body, asked);
    },

    async get(id, signal) {
      const [namespace = "", object = ""] = id.split("/");
      const url = new URL(`${base}/namespaces/${namespace}/${resource}/${object}`);
      const asked: Question = { verb: "get", resource, namespace, name: object };
      const request = { accept: JSON_TYPE, operation: "read" };
      const response = await ask(client, url, asked, request, signal);
      return objectOf(await readJson(response.body, OF_OBJECT, notJson), resource);
    },
  };
}

interface Request {
  readonly accept: string;
  readonly operation: string;
  readonly paced?: boolean;
}

/** @throws SourceError for any other answer but 200 */
async function ask(
  client: HttpClient,
  url: URL,
  question: Question,
  { accept, operation, paced }: Request,
  signal: AbortSignal,
): Promise<HttpResponse> {
  const response = await client.request(url, {
    headers: { accept },
    expect: "any",
    operation,
    paced,
    signal,
  });
  if (response.status === 200) return response;
  throw await refusal(response, question);
}

async function* eventsOf(
  body: AsyncIterable<Uint8Array>,
  question: Question,
): AsyncGenerator<WatchEvent> {
  for await (const line of linesOf(body)) {
    const { type, object } = (parseJson(line) ?? {}) as {
      readonly type?: unknown;
      readonly object?: unknown;
    };
    switch (type) {
      case "ADDED":
      case "MODIFIED":
      case "DELETED":
      case "BOOKMARK": {
        const { metadata } = (object ?? {}) as { readonly metadata?: ListMeta };
        yield {
          type: type === "BOOKMARK" ? "bookmark" : type === "DELETED" ? "deleted" : "changed",
          resourceVersion: versionOf(metadata ?? {}),
          object,
        };
        break;
      }
      case "ERROR": {
        const status = (object ?? {}) as Status;
        const code = typeof status.code === "number" ? status.code : 500;
        throw refusalOf(code, reasonOf(status), question);
      }
      default:
        throw notApi();
    }
  }
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  /** Of the line that is being read. */
  let parts: Buffer[] = [];
  let held = 0;
  for await (const received of body) {
    const chunk = Buffer.from(received.buffer, received.byteOffset, received.byteLength);
    let from = 0;
    for (let end; (end = chunk.indexOf(NEWLINE, from)) !== -1; from = end + 1) {
      const line = Buffer.concat([...parts, chunk.subarray(from, end)]).toString();
      parts = [];
      held = 0;
      if (line !== "") yield line;
    }
    // The chunk's memory may be used again.
    parts.push(Buffer.from(chunk.subarray(from)));
    held += chunk.length - from;
    if (held > LONGEST_OBJECT + EVENT) throw notApi();
  }
  if (Buffer.concat(parts).toString().trim() !== "") {
    throw new SourceError("unavailable", "the API server ended its answer in the middle of a line");
  }
}

function versionOf({ resourceVersion }: ListMeta): string {
  // Numbers in every server that there is; compared by `isOlder`.
  if (typeof resourceVersion !== "string" || !/^\d{1,20}$/.test(resourceVersion)) throw notApi();
  return resourceVersion;
}

/** resourceVersions of one resource can be compared as numbers: API concepts, "Resource versions". */
export function isOlder(version: string, than: string): boolean {
  return BigInt(version) < BigInt(than);
}
