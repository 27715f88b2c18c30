/**
 * The two conversations that a source needs, listing refs and fetching a pack, in protocol 2 and, for servers without it,
 * the original one: https://git-scm.com/docs/protocol-v2, https://git-scm.com/docs/pack-protocol.
 *
 * Spoken here instead of by `git fetch`, because an idle poll then costs one request and no process, a changed one a single
 * round trip, and the git program never gets to see a URL or a credential.
 */
import { type Pace, SourceError } from "@pannier/core/adapter";
import { isOid } from "../oid.ts";
import {
  createServerPace,
  cutShort,
  DELIMITER,
  FLUSH,
  notGit,
  type PacketReader,
  packet,
  remoteError,
} from "./pkt-line.ts";

/** A ref as a server lists it. */
export interface Ref {
  readonly name: string;
  readonly oid: string;
  /** What an annotated tag points at. */
  readonly peeled?: string | undefined;
}

/** What a server told about itself at the start of a conversation, and, in the original protocol, its refs. */
export interface Advertisement {
  readonly version: 0 | 2;
  readonly capabilities: ReadonlySet<string>;
  readonly refs: readonly Ref[];
}

/** What to fetch. */
export interface FetchRequest {
  readonly want: string;
  /** Commits that are here already, complete: the pack leaves out what they hold. */
  readonly haves: readonly string[];
  /** Those commits here whose parents are not. */
  readonly shallow: readonly string[];
  /** How many commits of history; 0 for all. */
  readonly depth: number;
}

/** What came of a fetch: a pack to be consumed, and which commits have no parents here from now on. */
export interface FetchResult {
  readonly shallow: readonly string[];
  readonly unshallow: readonly string[];
  readonly pack: AsyncIterable<Uint8Array>;
  /** Frees what is behind the pack. To be called in any case. */
  close(): Promise<void>;
}

const AGENT = "agent=pannier";

/** The object format goes with each request: a server refuses one that differs from its repository's. */
export type ObjectFormat = "sha1" | "sha256";

export function formatOf(oid: string): ObjectFormat {
  return oid.length === 64 ? "sha256" : "sha1";
}

/** Protocol 2's `ls-refs`. The prefixes only narrow the answer down: a server may list more. */
export function refsRequest(prefixes: readonly string[], format: ObjectFormat): string {
  return [
    packet("command=ls-refs\n"),
    packet(`${AGENT}\n`),
    // Servers older than git 2.28 do not know the capability and refuse it.
    format === "sha1" ? "" : packet(`object-format=${format}\n`),
    DELIMITER,
    packet("peel\n"),
    ...prefixes.map((prefix) => packet(`ref-prefix ${prefix}\n`)),
    FLUSH,
  ].join("");
}

/** Lines of one answer that are not its pack: ten times the refs of the largest repositories. */
const MOST_LINES = 1_000_000;

/** Commits at the end of a shallow history, and capabilities: kept in memory. */
const MOST_KEPT = 100_000;

/** @throws SourceError `invalid` after more lines than any server has to say */
function makeCount(most: number): () => void {
  let lines = 0;
  return () => {
    // Its cause says that it was understood.
    if (++lines > most)
      throw new SourceError("invalid", `the server's answer has more than ${most} lines`, {
        cause: new RangeError(`${lines} lines`),
      });
  };
}

/**
 * Reads a list of refs, of which those are kept whose names start with one of the prefixes: a server may list all it has, and need
 * not end. Of a whole folder's no more than a message has use for.
 */
export async function readRefs(reader: PacketReader, prefixes: readonly string[]): Promise<Ref[]> {
  const refs: Ref[] = [];
  const count = makeCount(MOST_LINES);
  for (;;) {
    const line = await reader.line();
    if (line === "flush") return refs;
    if (line === undefined) throw cutShort();
    count();
    const [oid = "", name = "", ...attributes] = line.split(" ");
    if (oid === "unborn") continue;
    if (!isOid(oid) || name === "") throw notGit();
    const peeled = attributes.find((attribute) => attribute.startsWith("peeled:"))?.slice(7);
    if (peeled !== undefined && !isOid(peeled)) throw notGit();
    if (isWanted(name, prefixes) && refs.length < MOST_KEPT) refs.push({ name, oid, peeled });
  }
}

function isWanted(name: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix));
}

/** How a conversation starts: with what the server can do, in the original protocol with all of its refs. */
export async function readAdvertisement(
  reader: PacketReader,
  prefixes: readonly string[],
): Promise<Advertisement> {
  const count = makeCount(MOST_LINES);
  let line = await reader.line();
  if (line?.startsWith("# service=") === true) {
    await reader.line();
    line = await reader.line();
  }
  if (line === "version 1") line = await reader.line();
  const capabilities = new Set<string>();
  if (line === "version 2") {
    for (;;) {
      line = await reader.line();
      if (line === "flush") return { version: 2, capabilities, refs: [] };
      if (line === undefined) throw cutShort();
      if (capabilities.size === MOST_KEPT) throw notGit();
      capabilities.add(line);
    }
  }
  const refs: Ref[] = [];
  for (; line !== "flush"; line = await reader.line()) {
    if (line === undefined) throw cutShort();
    count();
    const [ref = "", list] = line.split("\0");
    for (const capability of list?.split(" ") ?? []) capabilities.add(capability);
    const [oid = "", name = ""] = ref.split(" ");
    if (!isOid(oid)) {
      if (oid === "shallow") continue;
      throw notGit();
    }
    const last = refs.at(-1);
    if (name === "capabilities^{}") continue;
    if (last !== undefined && name === `${last.name}^{}`)
      refs[refs.length - 1] = { ...last, peeled: oid };
    else if (isWanted(name, prefixes) && refs.length < MOST_KEPT) refs.push({ name, oid });
  }
  return { version: 0, capabilities, refs };
}

/** A whole fetch in one request: everything that is here is told at once, followed by `done`, so that the pack comes straight back. */
export function fetchRequest(
  { want, haves, shallow, depth }: FetchRequest,
  { version, capabilities }: Pick<Advertisement, "version" | "capabilities">,
): string {
  const known = [
    ...shallow.map((oid) => packet(`shallow ${oid}\n`)),
    ...(depth === 0 ? [] : [packet(`deepen ${depth}\n`)]),
  ];
  const had = haves.map((oid) => packet(`have ${oid}\n`));
  if (version === 2) {
    return [
      packet("command=fetch\n"),
      packet(`${AGENT}\n`),
      formatOf(want) === "sha1" ? "" : packet("object-format=sha256\n"),
      DELIMITER,
      // Deltas against what is here. Without it, a server sends a shallow history's whole tree each time.
      packet("thin-pack\n"),
      packet("ofs-delta\n"),
      packet("no-progress\n"),
      ...known,
      packet(`want ${want}\n`),
      ...had,
      packet("done\n"),
      FLUSH,
    ].join("");
  }
  if (depth !== 0 && !capabilities.has("shallow"))
    throw new SourceError("unsupported", "the server cannot send a shallow history", {
      hint: "set depth=0",
    });
  const wished = ["multi_ack_detailed", "side-band-64k", "ofs-delta", "thin-pack", "no-progress"];
  const asked = wished.filter((name) => capabilities.has(name));
  if (!asked.includes("side-band-64k"))
    throw new SourceError("unsupported", "the server is too old: it has no side-band-64k");
  const format = formatOf(want) === "sha1" ? "" : " object-format=sha256";
  return [
    packet(`want ${want} ${asked.join(" ")}${format} ${AGENT}\n`),
    ...known,
    FLUSH,
    ...had,
    packet("done\n"),
  ].join("");
}

/** Reads the answer up to where the pack starts. */
export async function readFetch(
  reader: PacketReader,
  version: 0 | 2,
  depth: number,
): Promise<FetchResult> {
  reader.packIsPrepared();
  const shallow: string[] = [];
  const unshallow: string[] = [];
  const result = { shallow, unshallow, pack: sideBand(reader), close: () => reader.close() };
  const count = makeCount(MOST_KEPT);
  const boundary = (line: string): boolean => {
    count();
    const [word, oid = ""] = line.split(" ");
    if ((word !== "shallow" && word !== "unshallow") || !isOid(oid)) return false;
    (word === "shallow" ? shallow : unshallow).push(oid);
    return true;
  };
  if (version === 2) {
    for (;;) {
      const line = await reader.line();
      if (line === undefined) throw cutShort();
      if (line === "packfile") return result;
      // Other section headers and acknowledgements carry nothing that is needed here.
      boundary(line);
    }
  }
  if (depth !== 0) {
    for (let line = await reader.line(); line !== "flush"; line = await reader.line()) {
      if (line === undefined) throw cutShort();
      if (!boundary(line)) throw notGit();
    }
  }
  return result;
}

/** Bytes of progress that a server may tell of. It is asked for none. */
const MOST_MESSAGES = 1 << 20;

function endlessProgress(): SourceError {
  return new SourceError("unavailable", "the server sends progress messages without end", {
    transient: false,
  });
}

/**
 * The pack out of its side band. Ends at the flush packet that closes the band; a stream that ends without one was cut.
 * In the original protocol ACK and NAK lines come first: no band begins with their letters.
 */
async function* sideBand(reader: PacketReader): AsyncGenerator<Uint8Array> {
  let messages = 0;
  let pace: Pace | undefined;
  for (;;) {
    const asked = performance.now();
    const next = await reader.next();
    if (next === undefined) throw cutShort();
    if (next === "flush") break;
    const band = Buffer.isBuffer(next) ? next[0] : undefined;
    const isPack = Buffer.isBuffer(next) && band === 1 && next.length > 1;
    if (isPack && pace === undefined) {
      reader.packBegins();
      // Messages beside the pack are not the pack.
      pace = createServerPace("the pack");
    }
    pace?.came(performance.now() - asked, isPack ? next.length - 1 : 0);
    if (!Buffer.isBuffer(next)) continue;
    if (band === 1) yield next.subarray(1);
    else if (band === 2) {
      messages += next.length;
      if (messages > MOST_MESSAGES) throw endlessProgress();
    } else if (band === 3) throw remoteError(next.subarray(1).toString("utf8"));
    else {
      const line = next.toString("utf8");
      if (line.startsWith("ERR ")) throw remoteError(line.slice(4));
      if (!/^(ACK|NAK)/.test(line)) throw notGit();
    }
  }
  // To the stream's own end, so that the connection can be used again.
  await reader.next();
}
