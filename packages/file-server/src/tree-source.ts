/** A source that is a tree on a server, or one file of it. */
import type {
  Body,
  ByteRange,
  Entry,
  FileEntry,
  LaneSpec,
  Scope,
  Source,
  SourceContext,
} from "@pannier/core/adapter";
import { leftOutWarning } from "./left-out.ts";

/** What the source's address leads to. */
export interface Root {
  /** Where it is one file; `undefined` for a directory. */
  readonly file: FileEntry | undefined;
}

/** What a protocol does, as {@link treeSource} asks for it. */
export interface TreeServer<Top extends Root> {
  /** Reads at once that suit it. */
  readonly concurrency: number;
  /** As {@link Source.ranges}. */
  readonly ranges: NonNullable<Source["ranges"]>;
  /** Looks what the source's address leads to now. */
  look(signal: AbortSignal): Promise<Top>;
  /**
   * All that is below the root, in order.
   *
   * @param onSpecial told of each FIFO, socket and device, which are left out
   */
  list(
    top: Top,
    signal: AbortSignal,
    scope: Scope | undefined,
    onSpecial: (path: string) => void,
  ): AsyncIterable<readonly Entry[]>;
  /** As {@link Source.read}. */
  read(
    top: Top,
    entry: FileEntry,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Body>;
  /** As {@link Source.lane}, of what was listed last. */
  lane?(top: Top, signal: AbortSignal): Promise<LaneSpec | undefined>;
  close(): void;
}

/** Makes a source of it. Each listing looks at the root again; a read goes by what the last one found. */
export function treeSource<Top extends Root>(
  server: TreeServer<Top>,
  { warn }: Pick<SourceContext, "warn">,
): Source {
  let root: Top | undefined;
  const listLeftOut = leftOutWarning(warn);

  async function look(signal: AbortSignal): Promise<Top> {
    signal.throwIfAborted();
    root = await server.look(signal);
    return root;
  }

  async function* entriesOf(top: Top, signal: AbortSignal, scope: Scope | undefined) {
    const leftOut = listLeftOut();
    yield* server.list(top, signal, scope, leftOut.add);
    leftOut.tell();
  }

  return {
    ranges: server.ranges,
    concurrency: server.concurrency,

    async probe(signal) {
      signal.throwIfAborted();
      // Nothing cheaper than the listing tells.
      return undefined;
    },

    async list(signal, scope) {
      const top = await look(signal);
      if (top.file !== undefined) return { ordered: true, entries: [[top.file]] };
      return { ordered: true, entries: entriesOf(top, signal, scope) };
    },

    async read(entry, range, signal) {
      signal.throwIfAborted();
      return server.read(root ?? (await look(signal)), entry, range, signal);
    },

    ...(server.lane !== undefined && {
      lane: async (signal: AbortSignal) =>
        root === undefined ? undefined : server.lane?.(root, signal),
    }),

    async close() {
      server.close();
    },
  };
}
