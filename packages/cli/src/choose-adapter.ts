/** Which adapter a source is meant for: one of those that come with the program, or one of others. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { isAbsolute, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type Adapter,
  parseLocation,
  resolveSource,
  type SourceSpec,
  UsageError,
} from "@pannier/core";
import { BUILT_IN, type Registered } from "./adapters.ts";

export interface ChooseOptions {
  /** `--adapter`: the name of a built-in one, or the package or path of another. */
  readonly adapter?: string | undefined;
  /** Whether that one is for all sources where it fits none of them. Default true. */
  readonly insist?: boolean | undefined;
  readonly cwd: string;
}

/**
 * Finds the adapter of each source and checks the sources' options.
 *
 * @throws UsageError
 */
export async function resolveSources(
  texts: readonly string[],
  { adapter: name, insist = true, cwd }: ChooseOptions,
): Promise<SourceSpec[]> {
  const named = name === undefined ? undefined : await loadNamed(name, cwd);
  // A named adapter is for the sources it can be meant for; the others of a mount keep theirs.
  const forced = (text: string) => {
    const scheme = schemeOf(text);
    return named?.schemes.includes(scheme) === true || !(insist || isKnown(scheme));
  };
  const forceAll = named !== undefined && insist && !texts.some(forced);
  return Promise.all(
    texts.map(async (text) => {
      if (named !== undefined && (forceAll || forced(text)))
        return resolveSource(text, [named.adapter, ...(await loadFolder(text))], {
          adapter: named.adapter.name,
          cwd,
        });
      return resolveSource(text, await loadFor(text, cwd), { cwd });
    }),
  );
}

function isKnown(scheme: string): boolean {
  return BUILT_IN.some(({ schemes }) => schemes.includes(scheme));
}

function schemeOf(text: string): string {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase() ?? "file";
}

/** The adapters that this source may be meant for; all there are where it is for none, so that the message can name them. */
async function loadFor(text: string, cwd: string): Promise<readonly Adapter[]> {
  const scheme = schemeOf(text);
  const candidates = await Promise.all(registeredFor(scheme).map(load));
  if (candidates.length === 0) {
    const outer = await loadOuter(scheme);
    if (outer !== undefined) return [outer, ...(await loadFolder(text))];
  }
  const location = parseLocation(text, cwd);
  const fits = candidates.some(
    (adapter) =>
      adapter.schemes.includes(scheme) ||
      adapter.claims?.(location) === true ||
      adapter.suspects?.(location) === true,
  );
  return fits ? candidates : loadInstalled();
}

function registeredFor(scheme: string): readonly Registered[] {
  return BUILT_IN.filter(({ schemes }) => schemes.includes(scheme));
}

/** Of `oci+s3://…`, the adapter oci. */
async function loadOuter(scheme: string): Promise<Adapter | undefined> {
  const [first = ""] = scheme.split("+");
  const found = BUILT_IN.find(({ schemes }) => scheme !== first && schemes[0] === first);
  const adapter = found === undefined ? undefined : await load(found);
  return adapter?.inFolders === true ? adapter : undefined;
}

/** Of `oci+s3://…`, what there is for `s3://`. */
export async function loadFolder(text: string): Promise<readonly Adapter[]> {
  const [, scheme] = /^[^+]+\+(.+)$/.exec(schemeOf(text)) ?? [];
  return scheme === undefined ? [] : Promise.all(registeredFor(scheme).map(load));
}

/** Those of the built-in adapters whose package is there. */
export async function loadInstalled(): Promise<readonly Adapter[]> {
  const loaded = await Promise.all(
    BUILT_IN.map((registered) =>
      load(registered).catch((error: unknown) => {
        if (error instanceof UsageError) return undefined;
        throw error;
      }),
    ),
  );
  return loaded.filter((adapter) => adapter !== undefined);
}

async function load(registered: Registered): Promise<Adapter> {
  try {
    return await registered.load();
  } catch (error) {
    if (!isMissing(error, registered.package)) throw error;
    throw new UsageError(
      `the adapter "${registered.name}" is not in this build`,
      `add the package ${registered.package}`,
      { cause: error },
    );
  }
}

/** The adapter that `--adapter` names, with the schemes it can be meant for. @throws UsageError */
export async function loadNamed(
  name: string,
  cwd: string,
): Promise<{ readonly adapter: Adapter; readonly schemes: readonly string[] }> {
  const registered = BUILT_IN.find((one) => one.name === name);
  if (registered !== undefined)
    return { adapter: await load(registered), schemes: registered.schemes };
  const adapter = await loadForeign(name, cwd);
  return { adapter, schemes: adapter.schemes };
}

async function loadForeign(name: string, cwd: string): Promise<Adapter> {
  const present = BUILT_IN.map((one) => one.name).join(", ");
  let exports: { readonly adapter?: unknown; readonly default?: unknown };
  try {
    exports = await importFrom(name, cwd);
  } catch (error) {
    if (!isMissing(error, name)) throw error;
    throw new UsageError(
      `there is no adapter "${name}", nor a package or file of that name`,
      existsSync(resolve(cwd, name))
        ? `a path starts with ./: ./${name}`
        : `install the package, or name one of ${present}`,
      { cause: error },
    );
  }
  const adapter = exports.adapter ?? exports.default;
  if (isAdapter(adapter)) return adapter;
  throw new UsageError(
    `"${name}" is not an adapter`,
    "the module must export one as adapter, or as its default",
  );
}

/** A path is relative to the working directory; a package is looked for beside the program, then beside the working directory. */
async function importFrom(name: string, cwd: string): Promise<Record<string, unknown>> {
  if (name.startsWith(".") || isAbsolute(name))
    return import(pathToFileURL(resolve(cwd, name)).href) as Promise<Record<string, unknown>>;
  try {
    return (await import(name)) as Record<string, unknown>;
  } catch (error) {
    if (!isMissing(error, name)) throw error;
    const path = createRequire(join(cwd, "package.json")).resolve(name);
    return import(pathToFileURL(path).href) as Promise<Record<string, unknown>>;
  }
}

/** Whether it is this module that was not found, and not one that it imports. */
function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== "ERR_MODULE_NOT_FOUND" && code !== "MODULE_NOT_FOUND") return false;
  const what = /'([^']*)'/.exec(message)?.[1] ?? "";
  return what === name || what.endsWith(`/${name.replace(/^(\.\/)+/, "")}`);
}

function isAdapter(value: unknown): value is Adapter {
  const { name, schemes, open } = (value ?? {}) as Partial<Adapter>;
  return typeof name === "string" && Array.isArray(schemes) && typeof open === "function";
}
