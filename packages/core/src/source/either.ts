/** A source of which only its server can tell whose it is: `https://host/org/repo` is a file, or a repository. */
import type { Adapter, Source, SourceContext, SourceSpec } from "./contract.ts";
import { refuseOtherKinds } from "./signers.ts";

/**
 * Takes what the first of two adapters recognises for its own, and everything else for the second's. The server is asked
 * when it is first needed, so that an error there is tried again as any other.
 */
export function eitherSpec(first: SourceSpec, second: SourceSpec): SourceSpec {
  const adapter: Adapter = {
    ...second.adapter,
    name: `${first.adapter.name}-or-${second.adapter.name}`,
    // What may be printed of the URL.
    options: { ...second.adapter.options, ...first.adapter.options },
    signatures: [...(first.adapter.signatures ?? []), ...(second.adapter.signatures ?? [])],
    open: async (_, __, context) => eitherSource(first, second, context),
  };
  return {
    adapter,
    location: second.location,
    options: { [first.adapter.name]: first.options, [second.adapter.name]: second.options },
  };
}

function eitherSource(first: SourceSpec, second: SourceSpec, context: SourceContext): Source {
  let chosen: Source | undefined;
  let choosing: Promise<Source> | undefined;

  const choose = (signal: AbortSignal): Promise<Source> => {
    choosing ??= recognised(signal).then(async ({ adapter, location, options }) => {
      refuseOtherKinds(adapter, context.signers ?? []);
      chosen = await adapter.open(location, options as never, context);
      return chosen;
    });
    // What failed is asked anew.
    choosing.catch(() => (choosing = undefined));
    return choosing;
  };

  const recognised = async (signal: AbortSignal): Promise<SourceSpec> => {
    signal.throwIfAborted();
    const { adapter, location } = first;
    return (await adapter.recognise?.(location, context, signal)) === true ? first : second;
  };

  return {
    probe: async (signal, known) => (await choose(signal)).probe(signal, known),
    list: async (signal, scope) => (await choose(signal)).list(signal, scope),
    read: async (entry, range, signal) => (await choose(signal)).read(entry, range, signal),
    changes: async (from, to, signal, scope) =>
      (await choose(signal)).changes?.(from, to, signal, scope),
    published: async (signal) => chosen?.published?.(signal),
    version: (entry) => chosen?.version?.(entry),
    localPath: (entry) => chosen?.localPath?.(entry),
    lane: async (signal) => chosen?.lane?.(signal),
    get ranges() {
      return chosen?.ranges;
    },
    get concurrency() {
      return chosen?.concurrency;
    },
    get contentAddressed() {
      return chosen?.contentAddressed;
    },
    // One that is still being opened would be nobody's to close.
    close: async () => (await choosing?.catch(() => undefined))?.close(),
  };
}
