/** The adapter: a model, dataset or Space of the Hugging Face Hub as a source. */
import type { Adapter, Source } from "@pannier/core/adapter";
import { createHttpClient, makeAuthorize } from "@pannier/http-client";
import { parseAddress } from "./address.ts";
import { createHub, isOid, type Item } from "./hub.ts";
import { entryOf, listDirectory } from "./list.ts";
import { hfOptions, hubOf } from "./options.ts";
import { readVersion } from "./read.ts";
import { findToken, withToken } from "./token.ts";

/** What the address stands for. */
interface Place {
  /** That is read from. */
  readonly commit: string;
  /** Where it is one file. */
  readonly file: Item | undefined;
}

/** Reads at once. The Hub limits how many requests one address makes in five minutes. */
const CONNECTIONS = 16;

export const hfAdapter: Adapter<typeof hfOptions> = {
  name: "hf",
  package: "@pannier/adapter-hf",
  schemes: ["hf"],
  options: hfOptions,
  description: "a model, dataset or Space of the Hugging Face Hub",

  async open(location, options, context): Promise<Source> {
    const address = parseAddress(location);
    const { env } = process;
    const endpoint = hubOf(options.endpoint, env["HF_ENDPOINT"]);
    const { credentials, idleTimeout, retry } = context;
    const { origin } = endpoint;
    const authorize = withToken(makeAuthorize({ origin, credentials, env }), endpoint, env);
    const client = createHttpClient({
      credentials,
      authorize,
      env,
      idleTimeout,
      connections: CONNECTIONS,
      onRequest: (operation) => context.request(operation),
    });
    const hub = createHub({ address, endpoint, client, authorize });
    const { revision, path } = address;
    const isFixed = isOid(revision);
    let found: Place | undefined;

    async function commitNow(signal: AbortSignal): Promise<string> {
      const locked = context.locked?.();
      return locked !== undefined && isOid(locked) ? locked : hub.commit(signal);
    }

    /** Finds out what the address stands for now. */
    async function look(signal: AbortSignal): Promise<Place> {
      const commit = isFixed ? revision : await commitNow(signal);
      const itself = path === "" ? undefined : await hub.itself(commit, signal);
      found = { commit, file: itself?.type === "directory" ? undefined : itself };
      return found;
    }

    return {
      ranges: true,
      contentAddressed: true,
      concurrency: CONNECTIONS,

      async probe(signal) {
        signal.throwIfAborted();
        if (isFixed) return { token: revision, revision, immutable: true };
        const commit = await commitNow(signal);
        return { token: commit, revision: commit };
      },

      async list(signal, scope) {
        signal.throwIfAborted();
        const { commit, file } = await look(signal);
        const name = path.slice(path.lastIndexOf("/") + 1);
        const entries =
          file === undefined
            ? listDirectory({ hub, commit, path, retry, scope }, signal)
            : [[entryOf(file, name)]];
        return { ordered: false, entries, revision: commit, token: () => commit };
      },

      async read(entry, range, signal) {
        signal.throwIfAborted();
        const { commit, file } = found ?? (await look(signal));
        const inside = path === "" ? entry.path : `${path}/${entry.path}`;
        const whole = file === undefined ? inside : path;
        return readVersion({ hub, client, commit, path: whole, entry, range, signal });
      },

      async identity() {
        if ((await makeAuthorize({ origin, credentials, env })(endpoint))["authorization"]) {
          return "the credentials given to Pannier";
        }
        const token = await findToken(env);
        return token === undefined ? "nothing: as anybody" : `the token of ${token.from}`;
      },

      close: () => client.close(),
    };
  },
};
