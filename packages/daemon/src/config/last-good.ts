/**
 * What is remembered of the last configuration that was taken over: where its mounts are, and where the port is. A sidecar that is restarted
 * over a file that it cannot read goes on answering for what is published. No source, credential, hook or token is written down.
 */
import { createHash, randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type DaemonConfig, DEFAULTS, definedOf, httpConfig, mountOptions } from "./config.ts";

interface Remembered {
  readonly http: {
    readonly host?: string | undefined;
    readonly port: number;
    readonly dashboard: boolean;
  } | null;
  readonly mounts: readonly {
    readonly name: string;
    readonly target: string;
    readonly publish?: "swap" | "mirror" | undefined;
    readonly link?: string | undefined;
    readonly period: number;
    readonly timeout: number;
  }[];
}

/** @param folder of ours alone; it is made where it is missing */
export function remember(folder: string, file: string, { http, mounts }: DaemonConfig): void {
  const text = JSON.stringify({
    http:
      http === undefined ? null : { host: http.host, port: http.port, dashboard: http.dashboard },
    mounts: mounts.map(({ name, options: { target, publish, link, period, timeout } }) => ({
      name,
      target,
      publish,
      link,
      period,
      timeout,
    })),
  } satisfies Remembered);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (!isOurs(folder)) return;
    const temporary = join(folder, randomBytes(8).toString("hex"));
    try {
      writeFileSync(temporary, text, { flag: "wx", mode: 0o600 });
      renameSync(temporary, join(folder, nameFor(file)));
    } catch {
      rmSync(temporary, { force: true });
    }
  } catch {
    // No place for it: then the file itself has to tell, as far as it can be read.
  }
}

/** @returns `undefined` where nothing is remembered */
export function recall(folder: string, file: string): DaemonConfig | undefined {
  try {
    if (!isOurs(folder)) return undefined;
    const { http, mounts } = JSON.parse(
      readFileSync(join(folder, nameFor(file)), "utf8"),
    ) as Remembered;
    return restingConfig(mounts, http === null ? undefined : httpConfig(http));
  } catch {
    return undefined;
  }
}

/** Mounts without sources, to be shown and not to be worked on. */
export function restingConfig(
  mounts: readonly (Partial<Remembered["mounts"][number]> & {
    readonly name: string;
    readonly target: string;
  })[],
  http: DaemonConfig["http"],
): DaemonConfig {
  return {
    mounts: mounts.map(({ name, target, ...options }) => ({
      name,
      sources: [],
      options: mountOptions(definedOf(options), target),
      hooks: { postPublish: [] },
    })),
    http,
    maxActive: DEFAULTS.maxActive,
    maxFailures: undefined,
    shutdownGrace: DEFAULTS.shutdownGrace,
  };
}

/** In a directory for everybody's temporary files, another user may have been there first. */
function isOurs(folder: string): boolean {
  const stats = lstatSync(folder);
  return stats.isDirectory() && stats.uid === process.geteuid?.() && (stats.mode & 0o077) === 0;
}

function nameFor(file: string): string {
  return `${createHash("sha256").update(file).digest("hex").slice(0, 32)}.json`;
}
