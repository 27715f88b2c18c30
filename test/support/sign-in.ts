/** What the tests of signing in to object stores share. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { listAll } from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import type { Credentials, SourceSpec } from "@pannier/core/adapter";
import { expect, vi } from "vitest";

/** As if none of these variables were set. */
export function clearVariables(names: RegExp): void {
  for (const name of Object.keys(process.env)) if (names.test(name)) vi.stubEnv(name, undefined);
}

interface ExpiringStore {
  /** Holds one object already. */
  put(key: string, content: string): void;
  /** Makes the way to sign in, with keys that live for two seconds. */
  prepare(): Promise<Credentials>;
  /** Calls this for each request, before it is answered. */
  beforeEach(pass: () => false): void;
  source(): SourceSpec;
  /** Where a target may be made. */
  readonly folder: string;
  given(): number;
}

/** A sync in whose middle keys expire, several times. @returns how often keys were given */
export async function syncThroughRenewals(store: ExpiringStore): Promise<number> {
  const names = Array.from({ length: 40 }, (_, i) => `f${i}`);
  for (const name of names) store.put(name, name);
  vi.useFakeTimers({ toFake: ["Date"] });
  const credentials = await store.prepare();
  store.beforeEach(() => {
    // Some keys expire on the way, too.
    vi.setSystemTime(Date.now() + 150);
    return false;
  });
  const target = join(store.folder, "target");
  await sync({ sources: [store.source()], target, credentials, concurrency: 4, attempts: 5 });
  expect(await readdir(join(target, "current"))).toHaveLength(names.length + 1);
  expect(await readFile(join(target, "current/f39"), "utf8")).toBe("f39");
  return store.given();
}

/** 41 objects and a listing take six seconds of the server's time. */
export const RENEWALS = (given: number): boolean => given >= 3 && given < 15;

export interface Told {
  /** Default: `auth`. */
  readonly code?: string;
  readonly told: RegExp;
  readonly hint?: RegExp;
}

/** A listing fails so, and nothing that could be printed of its error holds a secret. */
export async function expectRefusedListing(
  source: Parameters<typeof listAll>[0],
  { code = "auth", told, hint = /./ }: Told,
  secrets: RegExp,
): Promise<void> {
  const error: unknown = await listAll(source).catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code,
    transient: code === "unavailable",
    message: expect.stringMatching(told),
    hint: expect.stringMatching(hint),
  });
  expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(secrets);
}
