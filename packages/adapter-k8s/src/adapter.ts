/** The adapter: ConfigMaps and Secrets of a Kubernetes cluster as a source. */
import {
  type Adapter,
  type Entry,
  type FileEntry,
  quotePath,
  type Source,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { parseAddress } from "./address.ts";
import { createApi, isOlder, type Scope } from "./api.ts";
import { findCluster, signerFor } from "./cluster.ts";
import { isGone } from "./errors.ts";
import { holdObjects } from "./held.ts";
import { entriesOf, fingerprintOf, idOf, type KubeObject, type Layout } from "./objects.ts";
import { k8sOptions } from "./options.ts";
import { changedSince, parseToken, type Seen, tokenOf } from "./probe.ts";
import { hintsOf, LONGEST_SILENCE, merged, settled } from "./watch.ts";

/** Reads at once. A fleet that starts asks one API server. */
const CONNECTIONS = 8;
/** Entries that are passed on in one go. */
const BATCH = 500;
/** Bytes that are passed on in one go. */
const WHOLE = 256 * 1024;
/**
 * Milliseconds after which a listing is due whatever the watches say. A cluster that was restored from a backup counts
 * resourceVersions from an earlier one on, and tells nothing of what is "since" a later one.
 */
const LIST_AGAIN = 60 * 60 * 1000;
/** Ours, and that of k8s-sidecar. */
const ANNOTATIONS = ["pannier.dev/folder", "k8s-sidecar-target-directory"];

export const k8sAdapter: Adapter<typeof k8sOptions> = {
  name: "k8s",
  package: "@pannier/adapter-k8s",
  schemes: ["k8s"],
  options: k8sOptions,
  description: "ConfigMaps and Secrets of a Kubernetes cluster",

  async open(location, options, context): Promise<Source> {
    const { namespaces, resource, name } = parseAddress(location);
    const { selector } = options;
    if (name !== undefined && selector !== undefined) {
      throw new UsageError("one object by name takes no selector", "leave one of the two out");
    }
    const layout = layoutOf(options, resource);
    const { env } = process;
    const cluster = await findCluster({
      kubeconfig: options.kubeconfig,
      context: options.context,
      credentials: context.credentials,
      env,
    });
    const scopes: readonly Scope[] =
      namespaces === undefined
        ? [{ namespace: undefined }]
        : (namespaces.length === 0 ? [cluster.namespace] : namespaces).map((namespace) => ({
            namespace,
          }));
    const clientWith = (idleTimeout: number) =>
      createHttpClient({
        credentials: cluster.credentials,
        tls: cluster.tls,
        authorize: signerFor(cluster),
        env,
        idleTimeout,
        connections: CONNECTIONS,
        onRequest: (operation) => context.request(operation),
      });
    const client = clientWith(context.idleTimeout);
    /** For what is silent most of the time. */
    const watchClient = clientWith(Math.max(context.idleTimeout, LONGEST_SILENCE));
    const api = createApi({ server: cluster.server, client, resource, selector, name });

    const held = holdObjects();
    /** By scope: the resourceVersion of the last whole listing. */
    const listed = new Map<Scope, string>();
    const seen = new Map<Scope, Seen>();
    let listedAt = performance.now();
    const reading = new Map<string, Promise<KubeObject>>();

    async function* list(
      versions: Map<Scope, string>,
      signal: AbortSignal,
    ): AsyncGenerator<readonly Entry[]> {
      let batch: Entry[] = [];
      let found = 0;
      for (const scope of scopes) {
        const before = listed.get(scope);
        const objects = api.list(scope, signal);
        for (;;) {
          const next = await objects.next();
          if (next.done === true) {
            versions.set(scope, next.value);
            break;
          }
          const object = next.value;
          found++;
          batch.push(...entriesOf(object, layout));
          // What changed since is what will be read.
          if (before === undefined || isOlder(before, object.resourceVersion)) {
            held.put(idOf(object), object);
          }
          if (batch.length >= BATCH) {
            yield batch;
            batch = [];
          }
        }
      }
      if (name !== undefined && found === 0) {
        throw new SourceError(
          "not-found",
          `${resource} ${scopes[0]?.namespace ?? ""}/${name}: not found`,
          { reached: "signed-in" },
        );
      }
      yield batch;
      for (const [scope, version] of versions) listed.set(scope, version);
      listedAt = performance.now();
    }

    async function fetch(id: string, signal: AbortSignal): Promise<KubeObject> {
      const object = await api.get(id, signal);
      held.put(id, object);
      return object;
    }

    /** @returns the content of exactly that version, or `undefined` */
    function contentIn(object: KubeObject, entry: FileEntry): Buffer | undefined {
      const key = entry.path.slice(entry.path.lastIndexOf("/") + 1);
      const content = object.content.get(key);
      if (content === undefined) return undefined;
      return fingerprintOf(object, content, resource) === entry.fingerprint ? content : undefined;
    }

    return {
      concurrency: CONNECTIONS,
      contentAddressed: resource === "configmaps",
      secret: resource === "secrets",

      async probe(signal, known) {
        signal.throwIfAborted();
        if (performance.now() - listedAt > LIST_AGAIN) return undefined;
        const versions = parseToken(known, scopes);
        if (versions === undefined) {
          return {
            token: tokenOf(
              scopes,
              await Promise.all(scopes.map((scope) => api.now(scope, signal))),
            ),
          };
        }
        try {
          const now = await Promise.all(
            scopes.map((scope, index) =>
              changedSince({ api, client, scope, seen }, versions[index] as string, signal),
            ),
          );
          return { token: tokenOf(scopes, now) };
        } catch (error) {
          // What happened since is forgotten: a listing tells.
          if (isGone(error)) return undefined;
          throw error;
        }
      },

      async list(signal) {
        signal.throwIfAborted();
        const versions = new Map<Scope, string>();
        return {
          ordered: false,
          entries: list(versions, signal),
          token: () =>
            tokenOf(
              scopes,
              scopes.map((scope) => versions.get(scope) ?? ""),
            ),
          clash: (first, second) => clash(first, second, resource),
        };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        const id = entry.ref ?? "";
        const kept = held.get(id);
        let content = kept === undefined ? undefined : contentIn(kept, entry);
        if (content === undefined) {
          const asked = reading.get(id) ?? fetch(id, signal).finally(() => reading.delete(id));
          reading.set(id, asked);
          content = contentIn(await asked, entry);
        }
        if (content === undefined) {
          throw new SourceError(
            "changed",
            `${quotePath(entry.path)}: it changed since it was listed`,
          );
        }
        const { offset = 0, length = Infinity } = range ?? {};
        const part = content.subarray(offset, offset + length);
        return part.length > WHOLE ? pieces(part, signal) : part;
      },

      watch(signal) {
        const hints = scopes.map((scope) =>
          hintsOf(
            {
              api,
              client: watchClient,
              scope,
              since: () => listed.get(scope),
              onQuiet: (since, until) => seen.set(scope, { since, until }),
            },
            signal,
          ),
        );
        return settled(merged(hints), signal);
      },

      async published() {
        held.clear();
      },
      identity: async () =>
        context.credentials.tokenFile === undefined
          ? cluster.words
          : "the token file given to Pannier",
      async close() {
        held.clear();
        await Promise.all([client.close(), watchClient.close()]);
      },
    };
  },
};

/** So that a large one can be left in the middle. */
async function* pieces(content: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += WHOLE) {
    signal.throwIfAborted();
    yield content.subarray(at, at + WHOLE);
  }
}

function layoutOf(
  options: Parameters<(typeof k8sAdapter)["open"]>[1],
  resource: Layout["resource"],
): Layout {
  const { folderAnnotation, folderRoot } = options;
  if (folderRoot !== undefined && !folderRoot.startsWith("/")) {
    throw new UsageError(
      "the option folderRoot is not an absolute path",
      "relative directories in annotations need none",
    );
  }
  return {
    resource,
    layout: options.layout as Layout["layout"],
    annotations: folderAnnotation === undefined ? ANNOTATIONS : [folderAnnotation],
    root: folderRoot?.replace(/\/+$/, ""),
  };
}

function clash(first: Entry, second: Entry, resource: string): SourceError {
  const [one, other] = [first, second].map((entry) =>
    entry.kind === "file" ? (entry.ref ?? "") : "",
  );
  return new SourceError(
    "invalid",
    `${quotePath(first.path)} is in two ${resource}: ${one} and ${other}`,
    {
      hint: "give one of them a directory in its annotation pannier.dev/folder, or use the option layout=objects",
    },
  );
}
