/** Adapters that are wrong in one way each: the suite must find each of them out, by the test that is meant for it. */
import {
  type Adapter,
  type Entry,
  type Listing,
  type Source,
  type SourceContext,
  SourceError,
} from "@pannier/core";
import { describeAdapter, type Harness, type SuiteOptions } from "@pannier/adapter-kit";
import { describe, expect, test } from "vitest";
import { memoryAdapter, memoryStore } from "./memory-adapter.ts";
import { tinyHttpAdapter, tinyHttpHarness } from "./tiny-http-adapter.ts";

type Mutation = (source: Source, context: SourceContext) => Partial<Source>;

const never = new AbortController().signal;

/** Changes each entry of a listing, or drops it. */
const eachEntry =
  (
    replace: (entry: Entry, index: number) => Entry | undefined,
    more: Partial<Listing> = {},
  ): Mutation =>
  (source) => ({
    async list(signal) {
      const listing = await source.list(signal);
      const entries: Entry[] = [];
      for await (const batch of listing.entries) entries.push(...batch);
      return {
        ...listing,
        entries: [entries.flatMap((entry, i) => replace(entry, i) ?? [])],
        ...more,
      };
    },
  });

const fingerprint = (make: () => string) =>
  eachEntry((entry) => (entry.kind === "file" ? { ...entry, fingerprint: make() } : entry));

/** The version that is there now, whatever was asked for. */
const readLatest: Mutation = (source) => ({
  async read(entry, range, signal) {
    for await (const batch of (await source.list(signal)).entries) {
      const now = batch.find(({ path }) => path === entry.path);
      if (now?.kind === "file") return source.read(now, range, signal);
    }
    throw new SourceError("not-found", "gone");
  },
});

const inMemory: [what: string, finding: string, mutation: Mutation][] = [
  [
    "one page only",
    "lists more than fits on one page",
    eachEntry((entry, i) => (i < 1000 ? entry : undefined)),
  ],
  [
    "no empty files",
    "tells sizes",
    eachEntry((entry) => (entry.kind === "file" && entry.size === 0 ? undefined : entry)),
  ],
  [
    "wrong sizes",
    "tells sizes",
    eachEntry((entry) => (entry.kind === "file" ? { ...entry, size: 1 } : entry)),
  ],
  [
    "names decoded once too often",
    "hostile names",
    eachEntry((entry) => ({ ...entry, path: entry.path.replaceAll("%2F", "/") })),
  ],
  [
    "names normalised",
    "Unicode names",
    eachEntry((entry) => ({ ...entry, path: entry.path.normalize() })),
  ],
  [
    "more left out than the scope says",
    "lists all that is wanted",
    (source) => ({
      async list(signal, scope) {
        const { entries, ...listing } = await source.list(signal);
        const kept: Entry[] = [];
        for await (const batch of entries)
          kept.push(
            ...batch.filter(({ path }) => scope?.wants(path.replace("keep", "skip")) ?? true),
          );
        return { ...listing, entries: [kept] };
      },
    }),
  ],
  [
    "another ignore file than is listed",
    "tells of an ignore file",
    (source) => ({
      async list(signal, scope) {
        await scope?.ignoreFile({ kind: "file", path: ".pannierignore", fingerprint: "x" });
        return source.list(signal);
      },
    }),
  ],
  [
    "an ignore file that is told when it is gone",
    "tells of an ignore file",
    (source) => {
      let told: Entry | undefined;
      return {
        async list(signal, scope) {
          const listing = await source.list(signal);
          for await (const batch of listing.entries)
            told = batch.find(({ path }) => path === ".pannierignore") ?? told;
          await scope?.ignoreFile(told);
          return listing;
        },
      };
    },
  ],
  [
    "a directory entered that is not wanted",
    "may not be read",
    (source) => ({ list: (signal) => source.list(signal) }),
  ],
  ["no order", "keeps its promise of order", eachEntry((entry) => entry, { ordered: true })],
  [
    "links followed",
    "lists symlinks",
    eachEntry((entry) => ({ ...entry, kind: "file", size: 0, fingerprint: "x" })),
  ],
  [
    "no program is executable",
    "tells permission bits",
    eachEntry((entry) => ({ ...entry, mode: 0o644 })),
  ],
  ["a fingerprint for all", "fingerprints differ", fingerprint(() => "same")],
  [
    "a new fingerprint each time",
    "fingerprints stay the same",
    fingerprint(() => `${Math.random()}`),
  ],
  ["a probe that sees nothing", "probes:", () => ({ probe: async () => ({ token: "same" }) })],
  [
    "a probe that sees ghosts",
    "probes:",
    () => ({ probe: async () => ({ token: `${Math.random()}` }) }),
  ],
  [
    "a probe of many requests",
    "probes:",
    (source, context) => ({
      async probe(signal) {
        context.request("probe");
        return source.probe(signal);
      },
    }),
  ],
  [
    "ranges ignored",
    "reads ranges",
    (source) => ({ read: (entry, _range, signal) => source.read(entry, undefined, signal) }),
  ],
  ["not pinned", "reads the version that was listed", readLatest],
  [
    "versions mixed",
    "replaced by another of the same size while it is read",
    (source, context) => ({
      async read(entry, range, signal) {
        const size = entry.size ?? 0;
        if (range !== undefined || size < 1 << 20) return source.read(entry, range, signal);
        const half = size >> 1;
        return (async function* () {
          const first = await source.read(entry, { offset: 0, length: half }, signal);
          yield* first as AsyncIterable<Uint8Array>;
          const latest = readLatest(source, context).read as Source["read"];
          yield* (await latest(entry, { offset: half }, signal)) as AsyncIterable<Uint8Array>;
        })();
      },
    }),
  ],
  ["deaf to an abort before", "aborted already", (source) => ({ list: () => source.list(never) })],
  [
    "deaf to an abort while reading",
    "stops reading when aborted",
    (source) => ({ read: (entry, range) => source.read(entry, range, never) }),
  ],
  [
    "another error for an abort",
    "aborted already",
    (source) => ({
      probe: (signal) => source.probe(signal).catch(() => Promise.reject(new Error("aborted"))),
    }),
  ],
  [
    "not a SourceError",
    "what is wrong with an address",
    (source) => ({
      list: (signal) => source.list(signal).catch(() => Promise.reject(new Error("oops"))),
    }),
  ],
];

const overNetwork: [what: string, finding: string, mutation: Mutation][] = [
  [
    "a password in a cause",
    "what is wrong with an address",
    (source) => ({
      list: (signal) =>
        source.list(signal).catch((error: SourceError) => {
          throw new SourceError(error.code, "failed", {
            cause: { headers: { pass: "wrong secret" } },
          });
        }),
    }),
  ],
  [
    "a cut taken for the end",
    "cut in the middle",
    (source) => ({
      async read(entry, range, signal) {
        const body = (await source.read(entry, range, signal)) as AsyncIterable<Uint8Array>;
        return (async function* () {
          try {
            yield* body;
          } catch {}
        })();
      },
    }),
  ],
  [
    "retries of its own",
    "HTTP 503 is",
    (source) => ({ list: (signal) => source.list(signal).catch(() => source.list(signal)) }),
  ],
  ["connections kept", "closes its connections", () => ({ close: async () => {} })],
  [
    "a wait that forgets the time",
    "Retry-After: 7",
    (source) => ({
      list: (signal) =>
        source.list(signal).catch((error: SourceError) => {
          throw new SourceError(error.code, error.message);
        }),
    }),
  ],
];

describe.each([
  ["in memory", inMemory, memoryAdapter, memoryHarness],
  ["over a network", overNetwork, tinyHttpAdapter, tinyHttpHarness],
] as const)("finds an adapter %s with", (_where, mutations, adapter, harness) => {
  test.for(mutations)("%s", async ([, finding, mutation]) => {
    // It passes without the mistake, so that it is the mistake that it finds.
    await theCheck(harness(mutate(adapter, () => ({}))), finding).run();
    await expect(theCheck(harness(mutate(adapter, mutation)), finding).run()).rejects.toThrow(
      /\n\nThe rule: .+\nMeet it: /,
    );
  });
});

const forever = () => new Promise<never>(() => {});

describe("finds a call that hangs, by its name:", () => {
  const hanging: [what: string, finding: string, mutation: Mutation][] = [
    ["probe", "probes:", () => ({ probe: forever })],
    ["list", "lists every file", () => ({ list: forever })],
    [
      "list",
      "tells sizes",
      (source) => ({
        list: async (signal) => ({
          ...(await source.list(signal)),
          // eslint-disable-next-line require-yield
          entries: (async function* () {
            await forever();
          })(),
        }),
      }),
    ],
    ["read", "reads ranges", () => ({ read: forever })],
    ["close", "tells sizes", () => ({ close: forever })],
  ];
  test.for(hanging)("%s, of what %s", async ([what, finding, mutation]) => {
    const options = { largeFile: 1 << 20, timeout: 600 };
    const check = theCheck(memoryHarness(mutate(memoryAdapter, mutation)), finding, options);
    await expect(check.run()).rejects.toThrow(`${what} hangs: nothing came of it for 0.2 seconds`);
  });
});

function memoryHarness(adapter: Adapter): Harness {
  return {
    adapter,
    traits: { mtimes: false },
    failures: { "not-found": () => ({ url: "memory://missing" }) },
    async create(files) {
      const store = await memoryStore(files);
      closed = undefined;
      return {
        ...store,
        deny: async (directory) => {
          closed = directory;
        },
      };
    },
  };
}

/** A directory that may not be read. */
let closed: string | undefined;

function closing(source: Source): Source {
  return {
    ...source,
    async list(signal, scope) {
      if (closed !== undefined && scope?.enters(closed) !== false)
        throw new SourceError("auth", `${closed} may not be read`);
      return source.list(signal, scope);
    },
  };
}

function mutate(adapter: Adapter, mutation: Mutation): Adapter {
  return {
    ...adapter,
    async open(location, options, context) {
      const source = closing(await adapter.open(location, options, context));
      return { ...source, ...mutation(source, context) };
    },
  };
}

interface Collected {
  readonly name: string;
  run(): Promise<void>;
}

/** The one test of the suite whose name holds this text. */
function theCheck(
  harness: Harness,
  part: string,
  options: SuiteOptions = { largeFile: 1 << 20 },
): Collected {
  const checks: Collected[] = [];
  const collector = {
    describe: (_name: string, define: () => void) => define(),
    test: (name: string, _options: object, body: (context: object) => Promise<void>) =>
      checks.push({ name, run: () => body({ skip }) }),
    expect,
  };
  describeAdapter(collector as never, harness, options);
  const [found, ...others] = checks.filter(({ name }) => name.includes(part));
  if (found === undefined || others.length > 0) throw new Error(`not one test about "${part}"`);
  return found;
}

function skip(reason: string): never {
  throw new Error(`skipped: ${reason}`);
}
