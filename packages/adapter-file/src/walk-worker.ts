/**
 * Walks a directory tree in a thread of its own; {@link walk} starts it and says why.
 *
 * Imports nothing but Node's own modules, so that the thread starts in a few milliseconds.
 */
import { isUtf8 } from "node:buffer";
import { constants, lstatSync, readdirSync, readlinkSync, type Stats } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

const BATCH = 1000;
/** Milliseconds after which what there is is sent, so that the other side sees that all is well. */
const SIGN_OF_LIFE = 200;
/** Batches that may be on their way: what bounds memory where the other side is slower. */
const MAX_UNREAD_BATCHES = 4;

export interface WalkInit {
  /** Without symlinks, and without a `/` at the end. */
  readonly root: string;
  /** One number: batches that the other side is done with. */
  readonly taken: Int32Array<SharedArrayBuffer>;
}

/** Entries in a form that crosses threads cheaply. */
export interface WalkBatch {
  /** Milliseconds, before the first of these was looked at. */
  readonly now: number;
  /** Paths, each followed by a NUL. */
  readonly paths: string;
  /** For each path: size, mode (with the file's kind), modification time. */
  readonly facts: Float64Array<ArrayBuffer>;
  /** Targets of those that are symlinks, in their order. */
  readonly targets: readonly string[];
  /** FIFOs, sockets and devices, which are no entries. */
  readonly specials: readonly string[];
  /** What could not be listed, and may not be wanted: the other side knows. */
  readonly failures: readonly WalkFailure[];
  readonly last: boolean;
}

/** Why the walk ended early. */
export interface WalkFailure {
  /** Relative to the root. */
  readonly path: string;
  /** Of the file system, as `EACCES`; or `changed` (became something else meanwhile), `kind` (not known), `name` or `target` (not UTF-8). */
  readonly code: string;
  readonly message: string;
}

/** A directory on the way: its names, sorted, those of directories with a `/` at the end. */
interface Level {
  /** Relative to the root, with a `/` at the end; empty for the root. */
  readonly prefix: string;
  readonly names: readonly string[];
  next: number;
}

const SPECIAL = new Set([
  constants.S_IFIFO,
  constants.S_IFSOCK,
  constants.S_IFCHR,
  constants.S_IFBLK,
]);

class Failure extends Error {
  readonly path: string;
  readonly code: string;
  constructor(path: string, code: string, message: string) {
    super(message);
    this.path = path;
    this.code = code;
  }
}

const { root, taken } = workerData as WalkInit;
let sent = 0;
let now = 0;
let began = 0;
let count = 0;
let paths = "";
let facts = new Float64Array(0);
let targets: string[] = [];
let specials: string[] = [];
let failures: WalkFailure[] = [];

try {
  startBatch();
  walkTree();
  send(true);
} catch (error) {
  const { path = "", code, message } = error as Failure;
  if (code === undefined) throw error;
  parentPort?.postMessage({ path, code, message } satisfies WalkFailure, []);
}

function walkTree(): void {
  const levels = [readLevel("")];
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const name = level.names[level.next++];
    if (name === undefined) levels.pop();
    else if (name.endsWith("/")) levels.push(readLevel(level.prefix + name));
    else lookAt(level.prefix + name);
    if (count === BATCH || performance.now() - began > SIGN_OF_LIFE) send(false);
  }
}

function readLevel(prefix: string): Level {
  const path = `${root}/${prefix}`;
  // Without the `/`, which would lead through a link.
  const self = path.slice(0, -1) || "/";
  try {
    let names = readdirSync(path, { withFileTypes: true }).map((entry) =>
      entry.isDirectory() ? `${entry.name}/` : entry.name,
    );
    // A link by now: the names may be those of a directory anywhere.
    if (!lstatSync(self).isDirectory()) throw replaced(prefix);
    if (names.some((name) => name.includes("\ufffd"))) names = withoutBadNames(path, prefix, names);
    return { prefix, names: sortNames(names), next: 0 };
  } catch (error) {
    // Another look tells a directory that was deleted, as one may be, from one that was replaced.
    if (isRefused(error) && prefix !== "")
      return { prefix, names: note(located(error, prefix)), next: 0 };
    if (!isMissing(error) || prefix === "") throw located(error, prefix);
    if (lstatSync(self, { throwIfNoEntry: false }) !== undefined) throw replaced(prefix);
    return { prefix, names: [], next: 0 };
  }
}

/** Names are passed on as text, and a name that is none would come out as another. */
function withoutBadNames(path: string, prefix: string, names: readonly string[]): string[] {
  const bad = new Set<string>();
  for (const name of readdirSync(path, "buffer")) {
    if (isUtf8(name)) continue;
    bad.add(name.toString());
    note(new Failure(prefix + name.toString(), "name", name.toString("hex")));
  }
  return names.filter((name) => !bad.has(name.replace(/\/$/, "")));
}

/** Notes what may not be wanted. */
function note(error: unknown): [] {
  const { path, code, message } = error as Failure;
  failures.push({ path, code, message });
  return [];
}

function isRefused(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "EACCES" || code === "EPERM";
}

/** JavaScript's own order is that of bytes unless a surrogate meets a character above U+E000. */
function sortNames(names: string[]): readonly string[] {
  return names.some((name) => /[\ud800-\uffff]/.test(name))
    ? names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    : names.toSorted();
}

function lookAt(path: string): void {
  try {
    add(path, lstatSync(`${root}/${path}`));
  } catch (error) {
    // In a directory of which only the names may be read.
    if (isRefused(error)) note(located(error, path));
    // Deleted since its name was read.
    else if (!isMissing(error)) throw located(error, path);
  }
}

function add(path: string, { mode, size, mtimeMs }: Stats): void {
  const kind = mode & constants.S_IFMT;
  // In its place among the files the content of a directory would be out of order.
  if (kind === constants.S_IFDIR) throw replaced(path);
  if (kind === constants.S_IFLNK) {
    const target = readlinkSync(`${root}/${path}`, "buffer");
    if (!isUtf8(target)) return void note(new Failure(path, "target", target.toString("hex")));
    targets.push(target.toString());
  } else if (SPECIAL.has(kind)) return void specials.push(path);
  else if (kind !== constants.S_IFREG)
    return void note(new Failure(path, "kind", kind.toString(8)));
  paths += `${path}\0`;
  facts[count * 3] = size;
  facts[count * 3 + 1] = mode;
  facts[count * 3 + 2] = mtimeMs;
  count++;
}

function startBatch(): void {
  now = Date.now();
  began = performance.now();
  count = 0;
  paths = "";
  facts = new Float64Array(BATCH * 3);
  targets = [];
  specials = [];
  failures = [];
}

function send(last: boolean): void {
  const sized = facts.subarray(0, count * 3);
  const batch: WalkBatch = { now, paths, facts: sized, targets, specials, failures, last };
  parentPort?.postMessage(batch, [facts.buffer]);
  if (last) return;
  sent++;
  for (let done = doneBatches(); sent - done >= MAX_UNREAD_BATCHES; done = doneBatches()) {
    Atomics.wait(taken, 0, done);
  }
  startBatch();
}

function doneBatches(): number {
  return Atomics.load(taken, 0);
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

function replaced(path: string): Failure {
  return new Failure(path, "changed", "was replaced while it was listed");
}

function located(error: unknown, path: string): unknown {
  if (error instanceof Failure) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? error : new Failure(path, code, message);
}
