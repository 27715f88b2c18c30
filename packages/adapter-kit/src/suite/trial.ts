/** One test of the suite: what it may use, and that all of it is put away afterwards. */
import { readFile } from "node:fs/promises";
import { inspect } from "node:util";
import { resolveSource } from "@pannier/core";
import {
  parseLocation,
  type Source,
  type SourceContext,
  SourceError,
  type SourceErrorCode,
} from "@pannier/core/adapter";
import type * as vitest from "vitest";
import { createFaultProxy, type FaultProxy } from "../fault-proxy.ts";
import type { Harness, SourceAddress, Store, StoreFile, SuiteOptions, Traits } from "../harness.ts";
import { listAll, type OpenedSource, openSource, readAll } from "../open-source.ts";
import { watchCalls } from "./calls.ts";
import { laneFirst } from "./lane-first.ts";
import { ruleFor } from "./rules.ts";

/** What the suite needs of vitest. Passed in, so that the suite is the caller's and the rest of the kit runs without it. */
export type Vitest = Pick<typeof vitest, "describe" | "test" | "expect">;

export type Settings = AllOf<SuiteOptions>;

/** Content as tests write it: text, bytes, or all about a file. `undefined` deletes. */
type Content = string | Uint8Array | StoreFile | undefined;
type Contents = Readonly<Record<string, Content>> | ReadonlyMap<string, Content>;

export type AllTraits = AllOf<Traits>;

type AllOf<Options> = { readonly [Name in keyof Options]-?: NonNullable<Options[Name]> };

export interface Trial {
  readonly expect: Vitest["expect"];
  readonly failures: NonNullable<Harness["failures"]>;
  readonly settings: Settings;
  /** A store with these files, closed after the test. */
  store(files: Contents): Promise<Store>;
  /** Opens an address, closed after the test. */
  open(address: SourceAddress, overrides?: Partial<SourceContext>): Promise<OpenedSource>;
  /** A store and a source of it. */
  opened(
    files: Contents,
    overrides?: Partial<SourceContext>,
  ): Promise<OpenedSource & { readonly store: Store }>;
  /** A store and a source of it through a fault proxy. */
  proxied(
    files: Contents,
    overrides?: Partial<SourceContext>,
  ): Promise<OpenedSource & { readonly store: Store; readonly proxy: FaultProxy }>;
  /** Changes a store. */
  change(store: Store, files: Contents): Promise<void>;
  /** Checks that something fails with a {@link SourceError} of one of these codes that gives no secret away. */
  fails(what: Promise<unknown>, ...codes: readonly SourceErrorCode[]): Promise<SourceError>;
  /** The bytes, or the error's code where it is one of these; any other error fails the test. */
  outcome(
    what: Promise<Buffer>,
    ...codes: readonly SourceErrorCode[]
  ): Promise<Buffer | SourceErrorCode>;
  skip(reason: string): never;
}

/** Defines a test. What cannot apply, by the traits, is not defined; what shows only once a source is open (it has no probe) skips itself. */
export type Check = (name: string, body: (trial: Trial) => Promise<void>) => void;

/** Makes, for each part of the suite, the function by which it defines its tests. */
export function makeChecks(
  { test, expect }: Vitest,
  harness: Harness,
  traits: AllTraits,
  settings: Settings,
): (part: string) => Check {
  // Kept for the whole suite: one store's password must not turn up in an error of another either.
  const secrets = new Set(harness.secrets);
  return (part) => (name, body) => {
    test(name, { timeout: settings.timeout }, async ({ skip }) => {
      const closers: (() => Promise<void>)[] = [];
      let skipped: unknown;
      const skipAs = (reason: string) => {
        try {
          return skip(reason);
        } catch (error) {
          skipped = error;
          throw error;
        }
      };
      try {
        try {
          await body(makeTrial(expect, harness, traits, settings, secrets, closers, skipAs));
        } finally {
          for (const close of closers.toReversed()) await close();
        }
      } catch (error) {
        const rule = ruleFor(part, name);
        if (error !== skipped && error instanceof Error && rule !== undefined)
          error.message += `\n\n${rule}`;
        throw error;
      }
    });
  };
}

/** Defines tests only where they apply. */
export function when(applies: boolean, check: Check): Check {
  return applies ? check : () => {};
}

function makeTrial(
  expect: Vitest["expect"],
  harness: Harness,
  traits: AllTraits,
  settings: Settings,
  secrets: Set<string>,
  closers: (() => Promise<void>)[],
  skip: (reason: string) => never,
): Trial {
  const calls = watchCalls(settings.timeout / 3);

  async function store(files: Contents): Promise<Store> {
    const made = await harness.create(toStoreFiles(files, traits));
    closers.push(() => made.close());
    return made;
  }

  async function open(address: SourceAddress, overrides: Partial<SourceContext> = {}) {
    for (const secret of await secretsOf(address)) secrets.add(secret);
    const { adapter } = harness;
    const spec = resolveSource(address.url, [adapter], {
      adapter: adapter.name,
      options: address.options,
    });
    const opened = await openSource(spec, {
      credentials: address.credentials ?? {},
      ...overrides,
    });
    const forced = laneFirst(opened.source, overrides.idleTimeout);
    const source = calls.watched(forced);
    closers.push(async () => {
      if (forced !== opened.source) await calls.watch("close", forced.close());
      await calls.watch("close", opened.close());
      for (const warning of opened.warnings) checkForSecrets(expect, warning, secrets);
    });
    return { ...opened, source };
  }

  async function fails(what: Promise<unknown>, ...codes: readonly SourceErrorCode[]) {
    const error = await what.then(
      () => expect.unreachable(`this should have failed with ${codes.join(" or ")}`),
      (thrown: unknown) => thrown,
    );
    checkForSecrets(expect, error, secrets);
    expect(error, "errors of a source are SourceErrors").toBeInstanceOf(SourceError);
    expect(codes, inspect(error)).toContain((error as SourceError).code);
    expect((error as SourceError).message).not.toBe("");
    return error as SourceError;
  }

  return {
    expect,
    failures: harness.failures ?? {},
    settings,
    store,
    open,
    async opened(files, overrides) {
      const made = await store(files);
      return { ...(await open(made.source({}), overrides)), store: made };
    },
    async proxied(files, overrides) {
      const made = await store(files);
      if (made.server === undefined) throw new Error("a store that is reached by TCP has a server");
      const proxy = await createFaultProxy({ target: made.server });
      closers.push(() => proxy.close());
      return { ...(await open(made.source({ port: proxy.port }), overrides)), store: made, proxy };
    },
    change: (made, files) => made.change(toStoreFiles(files, traits)),
    fails,
    async outcome(what, ...codes) {
      const result = await what.then(
        (bytes) => ({ bytes }),
        (error: unknown) => ({ error }),
      );
      if ("bytes" in result) return result.bytes;
      return (await fails(Promise.reject(result.error), ...codes)).code;
    },
    skip,
  };
}

export function allTraits(traits: Traits): AllTraits {
  return {
    symlinks: traits.symlinks ?? true,
    modes: traits.modes ?? "all",
    mtimes: traits.mtimes ?? true,
    sizes: traits.sizes ?? true,
    directories: traits.directories ?? true,
    exactChanges: traits.exactChanges ?? true,
    integrity: traits.integrity ?? false,
    network: traits.network ?? "none",
    holds: traits.holds ?? (() => true),
  };
}

function toStoreFiles(files: Contents, traits: AllTraits): Map<string, StoreFile | undefined> {
  const pairs = files instanceof Map ? files : Object.entries(files as Record<string, Content>);
  const made = new Map<string, StoreFile | undefined>();
  for (const [path, content] of pairs) {
    if (!traits.holds(path)) throw new Error(`a test uses ${path}, which the store cannot hold`);
    if (typeof content === "string")
      made.set(path, { kind: "file", content: Buffer.from(content) });
    else if (content instanceof Uint8Array) made.set(path, { kind: "file", content });
    else made.set(path, content);
  }
  return made;
}

/** Everything in an address that must never be printed, in each form in which it might be. */
async function secretsOf({ url, credentials = {} }: SourceAddress): Promise<string[]> {
  const location = parseLocation(url);
  const files = [credentials.passwordFile, credentials.tokenFile, credentials.sshKeyFile];
  const contents = await Promise.all(
    files.map((file) => (file === undefined ? "" : readFile(file, "utf8").catch(() => ""))),
  );
  const passwords = [
    location.password,
    credentials.password,
    ...contents.map((text) => text.trim()),
  ];
  const user = location.username ?? credentials.username ?? "";
  return passwords
    .filter((password): password is string => password !== undefined && password !== "")
    .flatMap((password) => [
      password,
      encodeURIComponent(password),
      Buffer.from(`${user}:${password}`).toString("base64"),
    ]);
}

/** Looks through an error as a careless `console.error` would print it, and through its causes to the last. */
function checkForSecrets(
  expect: Vitest["expect"],
  thing: unknown,
  secrets: ReadonlySet<string>,
): void {
  const printed = inspect(thing, {
    depth: 8,
    showHidden: true,
    maxStringLength: null,
    maxArrayLength: null,
  });
  for (const secret of secrets) {
    expect(printed.includes(secret), "an error or warning holds a secret").toBe(false);
  }
}

/** The code of the first failure of listing and reading one file, or what was read. */
export async function listAndRead(source: Source, path: string): Promise<Buffer> {
  return readAll(source, (await listAll(source)).file(path));
}

/** Bytes without any pattern that compression or deduplication could use, the same for the same seed. */
export function noise(size: number, seed: number): Buffer {
  // Xorshift: 64 MiB in a tenth of a second.
  const words = new Uint32Array(Math.ceil(size / 4));
  let state = (seed + 1) * 0x9e3779b1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, size);
}
