/** The whole daemon in this process, over sources in memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SourceSpec } from "@pannier/core";
import { onTestFinished } from "vitest";
import { type Content, type MemorySource, memorySource } from "../../core/test/memory-source.ts";
import type { DaemonConfig, MountConfig } from "../src/config/config.ts";
import { httpConfig } from "../src/config/config.ts";
import { type DaemonInit, type MountEvent, runDaemon } from "../src/index.ts";

/** A directory that is gone after the test. */
export function scratch(): string {
  const path = mkdtempSync(join(tmpdir(), "pannier-daemon-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function mountConfig(
  name: string,
  target: string,
  more: {
    readonly options?: Partial<MountConfig["options"]>;
    readonly hooks?: Partial<MountConfig["hooks"]>;
    readonly url?: string;
  } = {},
): MountConfig {
  return {
    name,
    sources: [{ url: more.url ?? `memory://${name}` }],
    options: { period: 3_600_000, timeout: 60_000, target, ...more.options },
    hooks: { postPublish: [], ...more.hooks },
  };
}

export function daemonConfig(
  mounts: readonly MountConfig[],
  more: Partial<DaemonConfig> = {},
): DaemonConfig {
  return {
    mounts,
    http: httpConfig({ host: "127.0.0.1", port: 0 }),
    maxActive: 4,
    maxFailures: undefined,
    shutdownGrace: 5000,
    ...more,
  };
}

export interface Running {
  /** Of each mount, by name. Made when first asked for, by the daemon or by the test. */
  source(name: string, content?: Content): MemorySource;
  readonly log: string[];
  readonly events: (readonly [mount: string, event: MountEvent])[];
  /** Resolves with the first event, past or to come, of a mount that is wanted. */
  event<Type extends MountEvent["type"]>(
    mount: string,
    type: Type,
    wanted?: (event: Extract<MountEvent, { type: Type }>) => boolean,
  ): Promise<Extract<MountEvent, { type: Type }>>;
  /** Resolves once the log has such a line. */
  logged(pattern: RegExp): Promise<string>;
  url(path: string): Promise<string>;
  get(path: string): Promise<{ readonly status: number; readonly text: string }>;
  /** Of `/status`. */
  status(mount: string): Promise<Record<string, unknown>>;
  /** As a signal of the operating system does. */
  stop(): Promise<number>;
  readonly exit: Promise<number>;
}

export function startDaemon(
  config: DaemonConfig | (() => DaemonConfig | Promise<DaemonConfig>),
  more: Partial<DaemonInit> & { readonly contents?: Readonly<Record<string, Content>> } = {},
): Running {
  const sources = new Map<string, MemorySource>();
  const log: string[] = [];
  const events: [string, MountEvent][] = [];
  const listeners = new Set<() => void>();
  const changed = () => {
    for (const listener of listeners) listener();
  };
  const until = <Found>(find: () => Found | undefined) =>
    new Promise<Found>((resolve) => {
      const look = () => {
        const found = find();
        if (found === undefined) return;
        listeners.delete(look);
        resolve(found);
      };
      listeners.add(look);
      look();
    });
  const source = (name: string, content?: Content) => {
    const known = sources.get(name) ?? memorySource(more.contents?.[name] ?? { a: name }, name);
    sources.set(name, known);
    if (content !== undefined) known.content = content;
    return known;
  };
  const stopping = new AbortController();
  const exit = runDaemon({
    readConfig: typeof config === "function" ? config : () => config,
    version: "1.2.3",
    resolveSources: async (urls) => urls.map((url) => source(url.replace("memory://", ""))),
    push: { check: async () => {}, run: async () => {} },
    credentials: {},
    env: process.env,
    log(level, message, fields) {
      log.push(`${level} ${message}${fields === undefined ? "" : ` ${JSON.stringify(fields)}`}`);
      changed();
    },
    onEvent(mount, event) {
      events.push([mount, event]);
      changed();
    },
    redact: (text) => text,
    learn() {},
    signal: stopping.signal,
    once: false,
    ...more,
  });
  exit.catch(() => {});
  const stop = () => {
    stopping.abort();
    return exit;
  };
  onTestFinished(async () => void (await stop().catch(() => {})));
  const url = async (path: string) => {
    const line = await Promise.race([
      until(() => log.find((one) => one.includes("listening on"))),
      exit.then(() => undefined),
    ]);
    return `http://${/listening on (\S+)/.exec(line ?? "")?.[1]}${path}`;
  };
  const get = async (path: string) => {
    const response = await fetch(await url(path));
    return { status: response.status, text: await response.text() };
  };
  return {
    source,
    log,
    events,
    exit,
    stop,
    url,
    get,
    event: (mount, type, wanted = () => true) =>
      until(
        () =>
          events.find(
            ([name, event]) =>
              name === mount &&
              event.type === type &&
              wanted(event as Extract<MountEvent, { type: typeof type }>),
          )?.[1] as Extract<MountEvent, { type: typeof type }> | undefined,
      ),
    logged: (pattern) => until(() => log.find((line) => pattern.test(line))),
    async status(mount) {
      const { mounts } = JSON.parse((await get("/status")).text) as {
        mounts: Record<string, unknown>[];
      };
      return mounts.find(({ name }) => name === mount) ?? {};
    },
  };
}

/** As `resolveSources`, with an adapter that does not end when it is told to. */
export async function neverClosing(): Promise<readonly SourceSpec[]> {
  return [neverAnswering(memorySource({ a: "1" }, "site"), "close")];
}

const never = () => new Promise<never>(() => {});

/** Lets one of the source's methods never answer; `open` does so once, when the configuration is checked. */
export function neverAnswering(
  spec: MemorySource,
  method: "open" | "list" | "close",
): MemorySource {
  const { adapter } = spec;
  let opened = 0;
  const open: typeof adapter.open = async (...given) => {
    if (method === "open" && opened++ > 0) return never();
    return { ...(await adapter.open(...given)), ...(method === "open" ? {} : { [method]: never }) };
  };
  return Object.assign(spec, { adapter: { ...adapter, open } });
}

/** Makes the adapter refuse the source, or find it out of reach, already when it is opened. */
export function failToOpen(spec: MemorySource, error: Error): void {
  const adapter = { ...spec.adapter, open: () => Promise.reject(error) };
  Object.assign(spec, { adapter });
}

/** As the command line does it, in short. */
