/** What an adapter is given to open a source with, for a mount or without one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ATTEMPTS, IDLE_TIMEOUT, UNLIMITED } from "./settings.ts";
import { retry, type RetryOptions } from "../transfer/retry.ts";
import type { Credentials, Source, SourceContext, SourceSpec } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { makeDirectories } from "../volume/files.ts";

/** A source opened without a target. */
export interface OpenedSource {
  readonly source: Source;
  /** Runs work on the source as the engine does: what fails for a while is tried again, up to five times in all. */
  retry<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
  /** Closes the source and removes its scratch directory. */
  close(): Promise<void>;
}

/** Opens a source without a target, to look at it (`ls`, `doctor`). Its scratch directory is temporary. */
export async function openSource(
  spec: SourceSpec,
  init: {
    readonly credentials?: Credentials;
    readonly idleTimeout?: number;
    readonly warn?: (message: string) => void;
    readonly request?: (operation: string) => void;
    readonly onRetry?: RetryOptions["onRetry"];
  } = {},
): Promise<OpenedSource> {
  let scratch: string | undefined;
  const context = sourceContext({
    credentials: init.credentials ?? {},
    limits: UNLIMITED,
    idleTimeout: init.idleTimeout ?? IDLE_TIMEOUT,
    scratch: () => (scratch ??= mkdtempSync(join(tmpdir(), "pannier-"))),
    warn: init.warn ?? (() => {}),
    retry: (work, signal) => retryPart(work, { attempts: ATTEMPTS, signal, onRetry: init.onRetry }),
    request: init.request ?? (() => {}),
  });
  const source = await spec.adapter.open(spec.location, spec.options as never, context);
  return {
    source,
    retry: (work, signal) => retry(work, { attempts: ATTEMPTS, signal, onRetry: init.onRetry }),
    async close() {
      await source.close();
      if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
    },
  };
}

/** A context whose scratch directory is made when first asked for. */
export function sourceContext(
  parts: Omit<SourceContext, "scratch"> & { readonly scratch: () => string },
): SourceContext {
  let made: string | undefined;
  return {
    ...parts,
    async scratch() {
      if (made === undefined) {
        const path = parts.scratch();
        makeDirectories(path, 0o700);
        made = path;
      }
      return made;
    },
  };
}

/** Retries a part of something that must not be repeated as a whole for it once more. */
export async function retryPart<Result>(
  work: () => Promise<Result>,
  options: RetryOptions,
): Promise<Result> {
  try {
    return await retry(work, options);
  } catch (error) {
    if (!(error instanceof SourceError) || !error.transient) throw error;
    const { code, message, retryAfter, hint, cause } = error;
    throw new SourceError(code, message, { transient: false, retryAfter, hint, cause });
  }
}
