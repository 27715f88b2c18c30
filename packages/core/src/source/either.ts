/** A source of which only its server can tell whose it is: `https://host/org/repo` is a file, or a repository. */
import type { Adapter, Source, SourceContext, SourceSpec } from "./contract.ts";
import { untilAborted } from "../timing/sleep.ts";
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

/** All that a source can do, so that no capability of either is lost: the type says where one is missing. */
function eitherSource(
  first: SourceSpec,
  second: SourceSpec,
  context: SourceContext,
): Required<Source> {
  let chosen: Source | undefined;
  const choice = Promise.withResolvers<Source>();
  let choosing: Promise<Source> | undefined;

  const choose = (signal: AbortSignal): Promise<Source> => {
    choosing ??= recognised(signal).then(async ({ adapter, location, options }) => {
      refuseOtherKinds(adapter, context.signers ?? []);
      chosen = await adapter.open(location, options as never, context);
      choice.resolve(chosen);
      return chosen;
    });
    // What failed is asked again.
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
    changes: async (from, to, signal, scope, published) =>
      (await choose(signal)).changes?.(from, to, signal, scope, published),
    // Waits until somebody asks for content: hints are nothing to ask the server for.
    async *watch(signal) {
      const source = await untilAborted(choice.promise, signal).catch(() => undefined);
      const hints = source?.watch?.(signal);
      if (hints !== undefined) yield* hints;
    },
    // Why it cannot be told whose the source is shows where content is asked for.
    identity: async (signal) => (await choose(signal).catch(() => undefined))?.identity?.(signal),
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
    get secret() {
      return chosen?.secret;
    },
    get contentAddressed() {
      return chosen?.contentAddressed;
    },
    // One that is still being opened would be nobody's to close.
    close: async () => (await choosing?.catch(() => undefined))?.close(),
  };
}
