/** A source that finds out by asking what it is: one file, files, or an archive. */
import type { Source } from "@pannier/core/adapter";

interface UndecidedInit extends Pick<Source, "probe" | "close"> {
  /** The source to list. */
  readonly toList: (signal: AbortSignal) => Promise<Source>;
  /** The source to read from. */
  readonly toRead: (signal: AbortSignal) => Promise<Source>;
  /** The one that was listed last; `undefined` before. */
  readonly decided: () => Source | undefined;
}

export function undecidedSource(init: UndecidedInit): Source {
  const { probe, close, toList, toRead, decided } = init;
  return {
    probe,
    list: async (signal, scope) => (await toList(signal)).list(signal, scope),
    read: async (entry, range, signal) => (await toRead(signal)).read(entry, range, signal),
    localPath: (entry) => decided()?.localPath?.(entry),
    lane: async (signal) => decided()?.lane?.(signal),
    get ranges() {
      return decided()?.ranges;
    },
    get contentAddressed() {
      return decided()?.contentAddressed;
    },
    close,
  };
}
