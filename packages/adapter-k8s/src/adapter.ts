/** The adapter: ConfigMaps and Secrets of a Kubernetes cluster as a source. */
import { type Adapter, type Source, UsageError } from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { parseAddress } from "./address.ts";
import { createApi, type Scope } from "./api.ts";
import { changesBetween } from "./changes.ts";
import { findCluster, signerFor } from "./cluster.ts";
import { holdObjects, IN_MEMORY } from "./held.ts";
import { createJournal, MOST_BYTES } from "./journal.ts";
import { clash, type Listed, listEntries } from "./list.ts";
import type { Layout } from "./objects.ts";
import { k8sOptions } from "./options.ts";
import { probe, tokenOf } from "./probe.ts";
import { createReader } from "./read.ts";
import { hintsOf, LONGEST_SILENCE, merged } from "./watch.ts";

/** Reads at once. A fleet that starts asks one API server. */
const CONNECTIONS = 8;
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
    const scopes = scopesOf(namespaces, cluster.namespace);
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
    const listed: Listed = {
      versions: new Map(),
      eras: new Map(),
      asked: false,
      ignores: false,
      at: performance.now(),
    };
    const most = MOST_BYTES / scopes.length;
    const journals = new Map(scopes.map((scope) => [scope, createJournal(layout, most)] as const));
    const era = (scope: Scope) => journals.get(scope)?.era;
    // Content of Secrets is on no disk but in the files that are wanted: the others are asked for one by one.
    const mostHeld = resource === "secrets" ? IN_MEMORY : context.limits.maxBytes;
    const held = holdObjects(() => context.scratch(), mostHeld);
    const asked = () => listed.asked;
    const told = (id: string) => {
      const found = [...journals.values()].map((journal) => journal.get(id));
      return found.find((object) => object !== undefined);
    };
    const read = createReader(api, held, told, resource);

    return {
      concurrency: CONNECTIONS,
      contentAddressed: resource === "configmaps",
      secret: resource === "secrets",

      probe: (signal, known) => probe({ api, client, scopes, listed, journals }, known, signal),

      async list(signal) {
        signal.throwIfAborted();
        listed.asked = true;
        const versions = new Map<Scope, string>();
        const lister = { api, scopes, layout, name, listed, era, keep: held.put };
        return {
          ordered: false,
          entries: listEntries(lister, versions, signal),
          token: () =>
            tokenOf(
              scopes,
              scopes.map((scope) => versions.get(scope) ?? ""),
            ),
          clash: (first, second) => clash(first, second, layout),
        };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        return read(entry, range, signal);
      },

      async changes(from, to, signal, wanted, published) {
        signal.throwIfAborted();
        return changesBetween({ scopes, journals, listed, name }, from, to, wanted, published);
      },

      watch(signal) {
        const hints = Array.from(journals, ([scope, journal]) => {
          const since = () =>
            listed.eras.get(scope) === journal.era ? listed.versions.get(scope) : undefined;
          const watching = { api, client: watchClient, scope, resource, journal, since, asked };
          return hintsOf(watching, signal);
        });
        return merged(hints);
      },

      async published() {
        held.clear();
        for (const [scope, version] of listed.versions) journals.get(scope)?.forget(version);
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

/** @param own the namespace where the URL names none */
function scopesOf(namespaces: readonly string[] | undefined, own: string): readonly Scope[] {
  if (namespaces === undefined) return [{ namespace: undefined }];
  return (namespaces.length === 0 ? [own] : namespaces).map((namespace) => ({ namespace }));
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
