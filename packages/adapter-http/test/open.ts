/** Opens sources of this adapter in tests; all is closed after the test. */
import { listAll, type OpenedSource, openSource, readAll } from "@pannier/adapter-kit";
import type { Entry, SourceContext, SourceError } from "@pannier/core";
import { expect, onTestFinished } from "vitest";
import { http } from "../src/index.ts";
import { openSite, type Site } from "./site.ts";

export async function site(pages: Parameters<typeof openSite>[0] = {}): Promise<Site> {
  const made = await openSite(pages);
  onTestFinished(() => made.close());
  return made;
}

export async function open(
  url: string,
  options: Parameters<typeof http>[1] = {},
  context: Partial<SourceContext> = {},
): Promise<OpenedSource> {
  const opened = await openSource(http(url, options), context);
  onTestFinished(() => opened.close());
  return opened;
}

export const never: AbortSignal = new AbortController().signal;

/** Every entry as one line: mode, path, and content or target. */
export async function tree(opened: OpenedSource): Promise<Record<string, string>> {
  const { entries } = await listAll(opened.source);
  const lines = await Promise.all([...entries.values()].map((entry) => lineOf(opened, entry)));
  return Object.fromEntries(lines);
}

async function lineOf({ source }: OpenedSource, entry: Entry): Promise<[string, string]> {
  if (entry.kind === "symlink") return [entry.path, `-> ${entry.target}`];
  return [entry.path, String(await readAll(source, entry))];
}

export async function failure(work: Promise<unknown>): Promise<SourceError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason as SourceError,
  );
  expect(error?.name).toBe("SourceError");
  return error as SourceError;
}
