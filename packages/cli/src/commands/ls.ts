/** `pannier ls`: the entries of a source, as they come. */
import {
  describeSource,
  type Entry,
  filterScope,
  type Listing,
  makeFilter,
  MountSourceError,
  oneLine,
  type Source,
} from "@pannier/core";
import { resolveSources } from "../choose-adapter.ts";
import { oneSource } from "../environment.ts";
import type { Invocation } from "../invocation.ts";
import { withSource, withTimeout } from "../open.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { args, settings, context, print, printJson } = invocation;
  const [spec] = await resolveSources([oneSource(context.env, args[0])], {
    adapter: settings.adapter,
    cwd: context.cwd,
  });
  if (spec === undefined) return 0;
  const signal = withTimeout(invocation.signal, settings.timeout);
  const scope = filterScope(makeFilter(settings.include ?? [], settings.exclude ?? []));
  try {
    await withSource(spec, invocation, async ({ source, retry }) => {
      const list = async () => begin((await source.list(signal, scope)).entries);
      const batches = await retry(list, signal);
      for await (const batch of batches) {
        signal.throwIfAborted();
        for (const entry of batch) {
          if (!scope.wants(entry.path)) continue;
          if (settings.json === true) await printJson(toRecord(source, entry));
          else await print(toLine(entry));
        }
      }
    });
    return 0;
  } catch (error) {
    invocation.signal.throwIfAborted();
    const why = (signal.aborted ? signal.reason : error) as Error;
    throw new MountSourceError(0, describeSource(spec), why);
  }
}

/**
 * A listing of which the first entries are there already: up to here it can be tried again, after them nothing can be
 * taken back.
 */
async function begin(
  entries: Listing["entries"],
): Promise<AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>> {
  async function* all() {
    yield* entries;
  }
  const batches = all();
  const first = await batches.next();
  if (first.done === true) return [];
  return (async function* () {
    yield first.value;
    yield* batches;
  })();
}

/** Names only what a user can use: no fingerprints or references, which mean nothing outside. */
function toRecord(source: Source, entry: Entry): unknown {
  const { kind, path, mtime } = entry;
  const time = mtime === undefined ? undefined : new Date(mtime).toISOString();
  if (entry.kind === "symlink") return { kind, path, target: entry.target, mtime: time };
  const mode = entry.mode === undefined ? undefined : `0${(entry.mode & 0o777).toString(8)}`;
  const sha256 = entry.digest?.algorithm === "sha256" ? entry.digest.value : undefined;
  const version = source.version?.(entry);
  return { kind, path, size: entry.size, mode, mtime: time, sha256, version };
}

function toLine(entry: Entry): string {
  const size = entry.kind === "file" ? (entry.size?.toString() ?? "-") : "link";
  const time =
    entry.mtime === undefined
      ? "-"
      : new Date(entry.mtime).toISOString().slice(0, 19).replace("T", " ");
  const arrow = entry.kind === "symlink" ? ` -> ${entry.target}` : "";
  return `${size.padStart(12)}  ${time.padEnd(19)}  ${oneLine(entry.path + arrow)}`;
}
