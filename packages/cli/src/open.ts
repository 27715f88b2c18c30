/** Opening a source on its own, without a mount, for the commands that look at one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OptionSpecs, OptionValues, Source, SourceSpec } from "@pannier/core";
import type { Invocation } from "./invocation.ts";

/** Milliseconds. */
const IDLE_TIMEOUT = 30_000;
/** As a mount has it by default. */
const MAX_EXPANSION = 100;

/** Opens a source, hands it on, and closes it; what it keeps on the disk meanwhile goes with it. */
export async function withSource<Result>(
  spec: SourceSpec,
  { credentials, log }: Pick<Invocation, "credentials" | "log">,
  work: (source: Source) => Promise<Result>,
): Promise<Result> {
  let scratch: Promise<string> | undefined;
  try {
    const source = await spec.adapter.open(
      spec.location,
      spec.options as OptionValues<OptionSpecs>,
      {
        credentials,
        limits: {
          maxFiles: Infinity,
          maxBytes: Infinity,
          maxFileBytes: Infinity,
          maxExpansion: MAX_EXPANSION,
        },
        idleTimeout: IDLE_TIMEOUT,
        scratch: () => (scratch ??= mkdtemp(join(tmpdir(), "pannier-ls-"))),
        warn: (message) => log("warn", message),
        request: (operation) => log("debug", `request ${operation}`),
      },
    );
    try {
      return await work(source);
    } finally {
      await source.close();
    }
  } finally {
    if (scratch !== undefined) await rm(await scratch, { recursive: true, force: true });
  }
}

/** A signal that also ends after a time, if there is one. */
export function withTimeout(signal: AbortSignal, milliseconds: number | undefined): AbortSignal {
  return milliseconds === undefined
    ? signal
    : AbortSignal.any([signal, AbortSignal.timeout(milliseconds)]);
}
