/** What the tests of this package share: a server, and sources of it that are closed after the test. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll, type OpenedSource, openSource, readAll } from "@pannier/adapter-kit";
import type { Change, Entry, Scope, Source, SourceContext, SourceError } from "@pannier/core";
import { afterAll, afterEach, beforeAll, expect, onTestFinished } from "vitest";
import {
  type GitServer,
  gitVersion,
  startGitServer,
  type TestRepository,
} from "../../../test/support/git-server.ts";
import { git } from "../src/index.ts";

export const withoutGit = gitVersion === undefined;
export const skipped = withoutGit ? " (skipped: git is not installed)" : "";

export type Options = NonNullable<Parameters<typeof git>[1]>;

export interface Setup {
  readonly server: GitServer;
  /** A repository and its URL. */
  repository(): Promise<TestRepository & { readonly url: string }>;
}

let count = 0;

/** Starts a server for the tests of a file; what a test sets on it is undone after the test. */
export function setup(): Setup {
  let server: GitServer | undefined;
  const started = () => server as GitServer;
  beforeAll(async () => {
    if (!withoutGit) server = await startGitServer();
  });
  afterEach(() => {
    if (server === undefined) return;
    server.allowed = undefined;
    server.intercept = undefined;
    server.protocol2 = true;
    server.requests.length = 0;
  });
  afterAll(() => server?.close());
  return {
    get server() {
      return started();
    },
    async repository() {
      const name = `repository-${count++}.git`;
      const repository = await started().repository(name);
      return { ...repository, url: `${started().url}/${name}` };
    },
  };
}

/** Opens a source for the length of a test. */
export async function open(
  url: string,
  options: Options = {},
  context: Partial<SourceContext> = {},
): Promise<OpenedSource> {
  const opened = await openSource(git(url, options), context);
  onTestFinished(() => opened.close());
  return opened;
}

/** A scratch directory that outlives a source, for the length of a test. */
export async function scratchDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-git-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

export const signal = (): AbortSignal => AbortSignal.timeout(15_000);

/** A source's whole content: text by path, `-> target` for symlinks, with `*` before an executable's. */
export async function contentOf(source: Source): Promise<Record<string, string>> {
  const { entries } = await listAll(source, signal());
  return Object.fromEntries(
    await Promise.all(
      [...entries.values()].map(
        async (entry) => [entry.path, await textOf(source, entry)] as const,
      ),
    ),
  );
}

async function textOf(source: Source, entry: Entry): Promise<string> {
  if (entry.kind === "symlink") return `-> ${entry.target}`;
  const text = (await readAll(source, entry)).toString();
  return entry.mode === 0o755 ? `*${text}` : text;
}

/** The changes between two revisions, by path; `undefined` where they have to be listed. */
export async function changesOf(
  source: Source,
  from: string,
  to: string,
  scope?: Scope,
): Promise<Record<string, string> | undefined> {
  const delta = await source.changes?.(from, to, signal(), scope);
  if (delta === undefined) return undefined;
  const found: Record<string, string> = {};
  for await (const batch of delta.changes)
    for (const change of batch as readonly Change[]) {
      const path = change.kind === "put" ? change.entry.path : change.path;
      expect(found, "each path once").not.toHaveProperty([path]);
      found[path] = change.kind === "put" ? await textOf(source, change.entry) : "deleted";
    }
  return found;
}

/** The error of something that has to fail. */
export async function errorOf(work: Promise<unknown>): Promise<SourceError> {
  return work.then(
    (value) => expect.unreachable(`it gave ${JSON.stringify(value)}`),
    (error: unknown) => error as SourceError,
  );
}

export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
