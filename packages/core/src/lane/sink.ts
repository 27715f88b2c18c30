/** The engine's writer in a lane: hashes, checks, creates and finishes the files of one batch. */
import { hash } from "node:crypto";
import { createContentHash } from "../transfer/content-hash.ts";
import {
  createNow,
  discardNow,
  finishNow,
  writeFileNow,
  writeNow,
} from "../transfer/output-sync.ts";
import type { Digest } from "../source/contract.ts";
import type { LaneFailure, Sink, Writing } from "./contract.ts";
import {
  type LaneDone,
  type LaneFacts,
  type LaneFile,
  type LaneInit,
  RECEIVED,
  STOPPED,
} from "./messages.ts";

/** Milliseconds that one file counts at most: a thread that had to wait for a processor once does not have a slow volume. */
const MOST_MS = 2;

/** Digests that Node takes of a whole in one call. */
const IN_ONE: ReadonlySet<string> = new Set(["md5", "sha1", "sha256"]);

interface Opened extends Sink {
  /** What became of the files. From now on nothing is taken any more. */
  finish(): Omit<LaneDone, "id" | "facts"> & {
    /** In the order of the batch's files; `undefined`: nothing is there. */
    readonly facts: readonly (LaneFacts | undefined)[];
  };
}

export function openSink(
  files: readonly LaneFile[],
  { owner, shared, mostUnlisted }: Pick<LaneInit, "owner" | "shared" | "mostUnlisted">,
  onThrottled: () => void,
): Opened {
  const facts = Array.from<LaneFacts | undefined>({ length: files.length });
  const requests = new Map<string, number>();
  const failed = new Map<number, LaneFailure>();
  /** Files that were begun: each has one chance. */
  const begun = new Set<number>();
  const open = new Set<Writing>();
  let writing = 0;
  let over = false;

  const isStopped = () => over || Atomics.load(shared, STOPPED) !== 0n;
  const came = (bytes: number) => Atomics.add(shared, RECEIVED, BigInt(bytes));

  /** @returns the file if it may be written */
  function take(file: number): LaneFile | undefined {
    const found = files[file];
    if (found === undefined || begun.has(file) || isStopped()) return undefined;
    begun.add(file);
    return found;
  }

  return {
    get stopped() {
      return isStopped();
    },

    put(file, content, digest) {
      came(content.length);
      const wanted = take(file);
      if (wanted === undefined) return;
      const { size = Math.min(content.length, mostUnlisted) } = wanted.entry;
      const isWhole = content.length === size;
      const sha256 = isWhole ? checked(content, wanted.entry.digest, digest) : undefined;
      if (sha256 === undefined) {
        failed.set(file, "unavailable");
        return;
      }
      const started = performance.now();
      const { path, mode, entry } = wanted;
      try {
        const look = { mode, mtime: entry.mtime, owner };
        const disk = writeFileNow(path, content, 0, content.length, look);
        facts[file] = { size: content.length, sha256, ...disk };
      } catch {
        // Whoever fetches it next meets the same, and can say it.
      }
      writing += Math.min(performance.now() - started, MOST_MS);
    },

    begin(file, digest) {
      const wanted = take(file);
      if (wanted === undefined) return NOTHING;
      const pieces = writePieces(wanted, digest, {
        owner,
        mostUnlisted,
        isStopped,
        onCame: came,
        onEnd(outcome) {
          open.delete(pieces);
          facts[file] = outcome;
        },
      });
      open.add(pieces);
      return pieces;
    },

    failed(file, code) {
      if (over) return;
      failed.set(file, code);
      if (code === "throttled") onThrottled();
    },

    request(operation) {
      requests.set(operation, (requests.get(operation) ?? 0) + 1);
    },

    finish() {
      over = true;
      for (const unfinished of open) unfinished.drop();
      return { facts, failed, requests, writing };
    },
  };
}

interface PiecesInit extends Pick<LaneInit, "owner" | "mostUnlisted"> {
  isStopped(): boolean;
  onCame(bytes: number): void;
  /** Called once. @param facts `undefined`: nothing is left of it */
  onEnd(facts: LaneFacts | undefined): void;
}

/** Writes a file whose content comes in pieces. */
function writePieces(
  { entry, path, mode }: LaneFile,
  digest: Digest | undefined,
  { owner, mostUnlisted, isStopped, onCame, onEnd }: PiecesInit,
): Writing {
  const content = createContentHash(entry.digest);
  content.expect(digest);
  let fd: number | undefined;
  let at = 0;
  let over = false;

  function drop(): void {
    if (over) return;
    over = true;
    if (fd !== undefined) discardNow(path, fd);
    onEnd(undefined);
  }

  /** @returns whether it could be done; if not, nothing is left */
  function attempt(work: () => void): boolean {
    if (over) return false;
    try {
      if (!isStopped()) {
        work();
        return true;
      }
    } catch {
      // Whoever fetches it next meets the same, and can say it.
    }
    drop();
    return false;
  }

  return {
    write(piece) {
      onCame(piece.length);
      return attempt(() => {
        if (at + piece.length > (entry.size ?? mostUnlisted)) throw new Error("longer than listed");
        fd ??= createNow(path, mode);
        content.update(piece);
        writeNow(fd, piece, 0, piece.length, at);
        at += piece.length;
      });
    },
    end() {
      attempt(() => {
        if (at < (entry.size ?? 0)) throw new Error("shorter than listed");
        const { sha256, wrong } = content.finish();
        if (wrong !== undefined) throw new Error("another digest");
        const whole = fd ?? createNow(path, mode);
        // Closed by what follows, whatever comes of it.
        fd = undefined;
        const disk = finishNow(whole, path, { mode, mtime: entry.mtime, owner });
        over = true;
        onEnd({ size: at, sha256, ...disk });
      });
    },
    drop,
  };
}

/** For a file that was begun before. */
const NOTHING: Writing = { write: () => false, end() {}, drop() {} };

/** The SHA-256 of a content; `undefined` where it is not what its source vouches for. */
function checked(content: Uint8Array, ...vouched: (Digest | undefined)[]): string | undefined {
  const digests = vouched.filter((digest) => digest !== undefined);
  if (digests.some(({ algorithm, partSize }) => !IN_ONE.has(algorithm) || partSize !== undefined)) {
    const all = createContentHash(undefined);
    for (const digest of digests) all.expect(digest);
    all.update(content);
    const { sha256, wrong } = all.finish();
    return wrong === undefined ? sha256 : undefined;
  }
  const sha256 = hash("sha256", content);
  const isRight = ({ algorithm, value }: Digest) =>
    (algorithm === "sha256" ? sha256 : hash(algorithm, content)) === value.toLowerCase();
  return digests.every(isRight) ? sha256 : undefined;
}
