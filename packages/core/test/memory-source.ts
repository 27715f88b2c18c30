/** A source whose content is a map in memory: for tests of the engine. */
import { createHash } from "node:crypto";
import {
  type Adapter,
  comparePaths,
  type Digest,
  type Entry,
  type FileEntry,
  type Scope,
  type Source,
  SourceError,
  type SourceSpec,
} from "../src/index.ts";
import type { TestData } from "./lane-child.ts";

interface TextFile {
  readonly text: string;
  readonly mode?: number;
  readonly fingerprint?: string;
  readonly mtime?: number;
  readonly digest?: Digest;
  /** What names this version to the store: a read under another name finds nothing. */
  readonly ref?: string;
}

export type Content = Record<string, string | { readonly link: string } | TextFile>;

export interface MemorySource extends SourceSpec {
  content: Content;
  /** Settable; what `probe` tells. `undefined`: a source that cannot tell. */
  token: string | undefined;
  revision: string | undefined;
  ordered: boolean;
  contentAddressed: boolean;
  /** False: a source that does not tell sizes. */
  sizes: boolean;
  lists: number;
  reads: string[];
  /** Whether lanes can read it; what else {@link TestData} has. */
  lane: false | Omit<TestData, "texts">;
  /** Called before each read; what it throws is what the read throws. */
  beforeRead: (entry: FileEntry) => void | Promise<void>;
  beforeList: (scope: Scope | undefined) => void | Promise<void>;
  /** Called when the first two entries have been listed. */
  midway: (scope: Scope | undefined) => void | Promise<void>;
  /** Called when the source is told that what it listed is published. */
  onPublished: () => void | Promise<void>;
}

export function memorySource(content: Content = {}, name = "memory"): MemorySource {
  const spec: MemorySource = {
    adapter: undefined as unknown as Adapter,
    location: {
      scheme: "memory",
      host: name,
      port: undefined,
      pathname: "/",
      username: undefined,
      password: undefined,
      query: {},
      rawQuery: "",
    },
    options: {},
    content,
    token: undefined,
    revision: undefined,
    ordered: true,
    contentAddressed: false,
    sizes: true,
    lists: 0,
    reads: [],
    lane: false,
    beforeRead() {},
    beforeList() {},
    midway() {},
    onPublished() {},
  };
  let countRequest: ((operation: string) => void) | undefined;
  const source: Source = {
    probe: () =>
      Promise.resolve(
        spec.token === undefined ? undefined : { token: spec.token, revision: spec.revision },
      ),
    async list(_, scope) {
      spec.lists++;
      countRequest?.("list");
      await spec.beforeList(scope);
      const entries = Object.entries(spec.content).map(([path, value]) =>
        toEntry(path, value, spec.sizes),
      );
      if (spec.ordered) entries.sort((a, b) => comparePaths(a.path, b.path));
      async function* inBatches() {
        yield entries.slice(0, 2);
        await spec.midway(scope);
        yield entries.slice(2);
      }
      return {
        entries: inBatches(),
        ordered: spec.ordered,
        revision: spec.revision,
      };
    },
    async read(entry, range) {
      spec.reads.push(entry.path);
      await spec.beforeRead(entry);
      const value = spec.content[entry.path];
      if (value === undefined) throw new SourceError("not-found", `no ${entry.path}`);
      const now = toEntry(entry.path, value);
      if (now.kind !== "file" || now.fingerprint !== entry.fingerprint || now.ref !== entry.ref)
        throw new SourceError("changed", `${entry.path} changed`);
      const bytes = Buffer.from(textOf(value));
      const wanted = bytes.subarray(
        range?.offset ?? 0,
        range?.length === undefined ? undefined : range.offset + range.length,
      );
      return wanted.length > 16 ? inPieces(wanted) : wanted;
    },
    async lane() {
      if (spec.lane === false) return undefined;
      const texts = Object.entries(spec.content).map(([path, value]) => [path, textOf(value)]);
      const data: TestData = { texts: Object.fromEntries(texts), ...spec.lane };
      return { module: new URL("lane-child.ts", import.meta.url), data };
    },
    get contentAddressed() {
      return spec.contentAddressed;
    },
    async published() {
      await spec.onPublished();
    },
    close: () => Promise.resolve(),
  };
  const adapter: Adapter = {
    name: "memory",
    package: "",
    schemes: ["memory"],
    options: {},
    description: "",
    open(_location, _options, context) {
      countRequest = (operation) => context.request(operation);
      return Promise.resolve(source);
    },
  };
  return Object.assign(spec, { adapter });
}

function textOf(value: Content[string]): string {
  return typeof value === "string" ? value : "text" in value ? value.text : "";
}

export function toEntry(path: string, value: Content[string], sizes = true): Entry {
  if (typeof value === "object" && "link" in value)
    return { kind: "symlink", path, target: value.link };
  const text = textOf(value);
  const own = typeof value === "string" ? { text } : value;
  return {
    kind: "file",
    path,
    size: sizes ? Buffer.byteLength(text) : undefined,
    mode: own.mode,
    mtime: own.mtime,
    digest: own.digest,
    ref: own.ref,
    fingerprint: own.fingerprint ?? createHash("sha1").update(text).digest("hex"),
  };
}

/** As the contract allows it: each chunk in the memory of the one before. */
async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(Math.ceil(bytes.length / 3));
  for (let at = 0; at < bytes.length; at += piece.length) {
    const length = bytes.copy(piece, 0, at);
    yield piece.subarray(0, length);
    piece.fill("?");
  }
}
