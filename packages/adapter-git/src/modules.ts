/** The repositories of a source: its own, and those of submodules, each opened once. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { type Limits, type Location, type SourceContext, SourceError } from "@pannier/core/adapter";
import { type LfsClient, lfsClient } from "./lfs.ts";
import type { GitOptions } from "./options.ts";
import { openRemote, type OpenedRemote, openSubmodule, repositoryUrl } from "./remotes.ts";
import { openRepository, type Repository } from "./repository.ts";
import { isDamage } from "./repository-cache.ts";
import { hasBatchCommand } from "./engine.ts";
import { cliStore } from "./store/cli.ts";
import { jsStore } from "./store/js.ts";
import type { ObjectStore } from "./store/store.ts";

/** A repository with what belongs to it. */
export interface Module {
  /** Names it in the `ref` of an entry: empty for the source's own, else the name of its cache. */
  readonly key: string;
  /** Without credentials. */
  readonly url: string;
  readonly repository: Repository;
  readonly lfs: LfsClient | undefined;
}

export interface Modules {
  /** The source's own repository. */
  root(): Promise<Module>;
  /** That of a submodule. */
  submodule(url: string): Promise<Module>;
  /** One that was opened before, by its key. */
  byKey(key: string): Promise<Module> | undefined;
  warn(message: string): void;
  /** All that were opened. */
  all(): Promise<readonly Module[]>;
  close(): Promise<void>;
}

async function storeOf(
  engine: "js" | "cli",
  { maxExpansion }: Limits,
): Promise<(dir: string) => ObjectStore> {
  if (engine === "js") return (dir) => jsStore(dir, maxExpansion);
  const batchCommand = await hasBatchCommand();
  return (dir) => cliStore(dir, batchCommand);
}

export function openModules(
  location: Location,
  options: GitOptions,
  engine: "js" | "cli",
  context: SourceContext,
): Modules {
  const makeStore = storeOf(engine, context.limits);
  const opened = new Map<string, Promise<Module>>();

  function open(key: string, url: string, connect: () => OpenedRemote): Promise<Module> {
    let module = opened.get(key);
    if (module === undefined) {
      module = Promise.all([context.scratch(), makeStore]).then(([scratch, make]) => {
        const { remote, http, anonymous } = connect();
        const folder = join(scratch, key === "" ? "repository" : `module-${key}`);
        return {
          key,
          url,
          repository: openRepository({
            remote,
            makeStore: make,
            dir: folder,
            depth: options.depth,
            maxBytes: context.limits.maxBytes,
            warn: (message) => context.warn(message),
          }),
          lfs: http !== undefined && options.lfs ? lfsClient(url, http, anonymous) : undefined,
        };
      });
      opened.set(key, module);
      module.catch(() => opened.delete(key));
    }
    return module;
  }

  return {
    root: () => open("", repositoryUrl(location), () => openRemote(location, context)),
    submodule(url) {
      const key = createHash("sha256").update(url).digest("hex").slice(0, 16);
      return open(key, url, () => openSubmodule(url, location, context));
    },
    byKey: (key) => opened.get(key),
    warn: (message) => context.warn(message),
    all: () => Promise.all(opened.values()),
    async close() {
      await Promise.allSettled(
        [...opened.values()].map(async (module) => (await module).repository.close()),
      );
    },
  };
}

/** Translates a cache's damage, which must not leave the adapter. */
export function translate({ repository }: Module, error: unknown): unknown {
  if (!isDamage(error)) return error;
  repository.distrust();
  return new SourceError(
    "unavailable",
    `the object cache is damaged: ${(error as Error).message}`,
    {
      hint: "it is thrown away and fetched again",
      cause: error,
    },
  );
}
