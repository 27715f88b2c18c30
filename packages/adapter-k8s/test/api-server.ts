/**
 * A small API server in memory, on 127.0.0.1: ConfigMaps and Secrets with lists in pages, watches with bookmarks, selectors and
 * metadata-only answers, after https://kubernetes.io/docs/reference/using-api/api-concepts/. The same tests run against a real one in
 * test/real, which `npm test` cannot have.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { listenOnLoopback } from "../../../test/support/loopback.ts";

interface StoredObject {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>> | undefined;
    readonly annotations?: Readonly<Record<string, string>> | undefined;
  };
  readonly data?: Readonly<Record<string, string>> | undefined;
  readonly binaryData?: Readonly<Record<string, string>> | undefined;
}

/** As a user writes it. */
export type ObjectInit = Omit<StoredObject, "metadata"> & {
  readonly metadata: Omit<StoredObject["metadata"], "uid" | "resourceVersion">;
};

type Resource = "configmaps" | "secrets";

interface Change {
  readonly version: number;
  readonly resource: Resource;
  readonly before: StoredObject | undefined;
  readonly after: StoredObject | undefined;
}

/** An object of the namespace and with the label that tests ask for. */
export function siteObject(
  name: string,
  data: Record<string, string>,
  more: Partial<ObjectInit["metadata"]> = {},
): ObjectInit {
  return { metadata: { namespace: "web", name, labels: { app: "site" }, ...more }, data };
}

export interface ApiServer {
  readonly port: number;
  /** Method, path and query of each request. */
  readonly log: URL[];
  /** Verbs that a token may use; one that is not here may use all. */
  readonly allowed: Map<string, readonly string[]>;
  /** The only tokens that are accepted, where there are any. */
  readonly tokens: Set<string>;
  /** Objects of a page at most, however many are asked for. */
  pageLimit: number;
  /** Called before each page of a list. */
  onPage: (() => void) | undefined;
  /** Long watches tell nothing any more, and do not end either: as where a connection is gone without a word. */
  mute: boolean;
  put(resource: Resource, object: ObjectInit): StoredObject;
  delete(resource: Resource, namespace: string, name: string): void;
  /** As `delete`, and tells nobody: a cluster that was restored from a backup. */
  lose(resource: Resource, namespace: string, name: string): void;
  /** Forgets what happened until now: watches and lists from before are answered by 410. */
  compact(): void;
  /** Ends the connections of all watches. */
  cutWatches(): void;
  /** Watches that are open. */
  readonly watches: number;
  close(): Promise<void>;
}

export async function startApiServer(): Promise<ApiServer> {
  const objects: Record<Resource, Map<string, StoredObject>> = {
    configmaps: new Map(),
    secrets: new Map(),
  };
  const changes: Change[] = [];
  const watchers = new Set<{ tell(change: Change): void; response: ServerResponse }>();
  let version = 1000;
  let compacted = 1000;
  const server = createServer(answer);

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://server");
    self.log.push(url);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    if (self.tokens.size > 0 && !self.tokens.has(token)) {
      return refuse(response, 401, "Unauthorized", "Unauthorized");
    }
    const path = /^\/api\/v1(?:\/namespaces\/([^/]+))?\/(configmaps|secrets)(?:\/([^/]+))?$/;
    const [, namespace, resource, name] = path.exec(url.pathname) ?? [];
    if (resource === undefined) return refuse(response, 404, "NotFound", "not found");
    const query = url.searchParams;
    const verb = name !== undefined ? "get" : query.get("watch") === "true" ? "watch" : "list";
    if (self.allowed.get(token)?.includes(verb) === false) {
      const where =
        namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
      const message = `${resource} is forbidden: User "test" cannot ${verb} resource "${resource}" in API group "" ${where}`;
      return refuse(response, 403, "Forbidden", message);
    }
    const kind = resource as Resource;
    if (verb === "get") {
      const found = objects[kind].get(`${namespace}/${name}`);
      if (found === undefined) return refuse(response, 404, "NotFound", `${name} not found`);
      return json(response, 200, shown(found, request));
    }
    const wanted = (object: StoredObject | undefined) =>
      object !== undefined &&
      (namespace === undefined || object.metadata.namespace === namespace) &&
      matches(object, query);
    if (verb === "watch") watch(request, response, kind, wanted, query);
    else list(request, response, kind, wanted, query);
  }

  function list(
    request: IncomingMessage,
    response: ServerResponse,
    resource: Resource,
    wanted: (object: StoredObject) => boolean,
    query: URLSearchParams,
  ): void {
    self.onPage?.();
    const going = query.get("continue");
    const [at, after] =
      going === null ? [version, ""] : (JSON.parse(atob(going)) as [number, string]);
    if (at < compacted && going !== null) {
      return refuse(response, 410, "Expired", "The provided continue parameter is too old");
    }
    // As it all was when the first page was asked for.
    const state = new Map(objects[resource]);
    for (const change of changes.toReversed()) {
      if (change.version <= at || change.resource !== resource) continue;
      const { metadata } = (change.before ?? change.after) as StoredObject;
      const id = `${metadata.namespace}/${metadata.name}`;
      if (change.before === undefined) state.delete(id);
      else state.set(id, change.before);
    }
    const limit = Math.min(Number(query.get("limit") ?? Infinity), self.pageLimit);
    const found = [...state.entries()]
      .filter(([id, object]) => id > after && wanted(object))
      .toSorted(([a], [b]) => (a < b ? -1 : 1));
    const page = found.slice(0, limit);
    const more = found.length > page.length;
    json(response, 200, {
      kind: "List",
      apiVersion: "v1",
      metadata: {
        resourceVersion: String(at),
        ...(more && { continue: btoa(JSON.stringify([at, page.at(-1)?.[0]])) }),
      },
      items: page.map(([, object]) => shown(object, request)),
    });
  }

  function watch(
    request: IncomingMessage,
    response: ServerResponse,
    resource: Resource,
    wanted: (object: StoredObject | undefined) => boolean,
    query: URLSearchParams,
  ): void {
    const from = Number(query.get("resourceVersion"));
    if (from < compacted) {
      const message = `too old resource version: ${from} (${compacted})`;
      return refuse(response, 410, "Expired", message);
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const seconds = Number(query.get("timeoutSeconds") ?? 1800);
    const isLong = seconds > 60;
    const send = (type: string, object: unknown) => {
      if (!self.mute || !isLong) response.write(`${JSON.stringify({ type, object })}\n`);
    };
    const tell = (change: Change) => {
      if (change.resource !== resource || change.version <= from) return;
      const [was, is] = [wanted(change.before), wanted(change.after)];
      if (!was && !is) return;
      const object = (is ? change.after : change.before) as StoredObject;
      const now = {
        ...object,
        metadata: { ...object.metadata, resourceVersion: String(change.version) },
      };
      if (is) send(was ? "MODIFIED" : "ADDED", shown(now, request));
      else send("DELETED", shown(now, request));
    };
    for (const change of changes) tell(change);
    const watcher = { tell, response };
    watchers.add(watcher);
    const bookmark = () =>
      send("BOOKMARK", { kind: "ConfigMap", metadata: { resourceVersion: String(version) } });
    const timers = [
      setTimeout(bookmark, Math.min(60, Math.max(0, seconds - 2)) * 1000),
      setTimeout(() => (self.mute && isLong) || response.end(), seconds * 1000),
    ];
    response.on("close", () => {
      timers.forEach(clearTimeout);
      watchers.delete(watcher);
    });
  }

  function record(resource: Resource, id: string, after: StoredObject | undefined): void {
    const before = objects[resource].get(id);
    if (before === undefined && after === undefined) return;
    if (after === undefined) objects[resource].delete(id);
    else objects[resource].set(id, after);
    const change = { version, resource, before, after };
    changes.push(change);
    for (const watcher of watchers) watcher.tell(change);
  }

  const self = {
    port: 0,
    log: [] as URL[],
    allowed: new Map<string, readonly string[]>(),
    tokens: new Set<string>(),
    pageLimit: Infinity,
    onPage: undefined as (() => void) | undefined,
    mute: false,
    get watches() {
      return watchers.size;
    },
    put(resource: Resource, object: ObjectInit) {
      const id = `${object.metadata.namespace}/${object.metadata.name}`;
      const uid = objects[resource].get(id)?.metadata.uid ?? randomUUID();
      const metadata = { ...object.metadata, uid, resourceVersion: String(++version) };
      const stored = { ...object, metadata };
      record(resource, id, stored);
      return stored;
    },
    delete(resource: Resource, namespace: string, name: string) {
      version++;
      record(resource, `${namespace}/${name}`, undefined);
    },
    lose(resource: Resource, namespace: string, name: string) {
      objects[resource].delete(`${namespace}/${name}`);
    },
    compact() {
      compacted = ++version;
    },
    cutWatches() {
      for (const { response } of watchers) response.destroy();
    },
    close: async () => {},
  };
  return Object.assign(self, await listenOnLoopback(server));
}

/** Equality, and whether a label is there, as far as tests select. */
function matches({ metadata }: StoredObject, query: URLSearchParams): boolean {
  const name = /^metadata\.name=(.*)$/.exec(query.get("fieldSelector") ?? "")?.[1];
  if (name !== undefined && metadata.name !== name) return false;
  const selector = query.get("labelSelector") ?? "";
  return selector.split(",").every((term) => {
    const [label = "", value] = term.split(/==?/);
    if (term === "") return true;
    const has = metadata.labels?.[label];
    return value === undefined ? has !== undefined : has === value;
  });
}

function shown(object: StoredObject, { headers }: IncomingMessage): unknown {
  return headers.accept?.includes("as=PartialObjectMetadata") === true
    ? { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata }
    : object;
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

function refuse(response: ServerResponse, code: number, reason: string, message: string): void {
  json(response, code, {
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    message,
    reason,
    code,
  });
}
