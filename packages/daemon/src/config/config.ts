/** A configuration ready for use: checked, its defaults filled in, its paths absolute. */
import { basename } from "node:path";
import { type Credentials, type FollowOptions, standardOf } from "@pannier/core";

/** One mount. */
export interface MountConfig {
  readonly name: string;
  readonly sources: readonly SourceConfig[];
  /** For sources that name none themselves. */
  readonly adapter?: AdapterChoice | undefined;
  readonly options: MountOptions;
  readonly hooks: HooksConfig;
}

/** What goes to the engine as it is. */
export type MountOptions = Omit<FollowOptions, "sources" | "prePublish" | "timeout" | "period"> & {
  /** Milliseconds. */
  readonly period: number;
  /** Milliseconds for one sync. */
  readonly timeout: number;
};

/** An adapter that was named beside the URLs. */
export interface AdapterChoice {
  readonly name: string;
  /** Whether it was named for these sources: where none is of its schemes it is meant for all of them, and not only for those that are nobody's else. */
  readonly isOwn: boolean;
}

export interface SourceConfig {
  /** As written, with whatever secrets it holds. */
  readonly url: string;
  readonly into?: string | undefined;
  readonly adapter?: string | undefined;
  readonly credentials?: Credentials | undefined;
  readonly signedBy?: readonly string[] | undefined;
}

export interface HooksConfig {
  readonly prePublish?: PrePublishConfig | undefined;
  /** Beside the hooks after publishing, which do not wait for a registry. */
  readonly push?: (PushConfig & { readonly retries: number }) | undefined;
  readonly postPublish: readonly PostPublishConfig[];
}

export interface CommandConfig {
  readonly command: readonly string[];
  /** Milliseconds. */
  readonly timeout: number;
  readonly env: Readonly<Record<string, string>>;
}

export interface PrePublishConfig extends CommandConfig {
  /** Milliseconds after which a refused revision is asked about again. */
  readonly retry: number;
}

export interface CallConfig {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeout: number;
}

export interface SignalConfig {
  /** As `SIGHUP`. */
  readonly signal: NodeJS.Signals;
  readonly process: string;
}

/** Pushing what was published. */
export interface PushConfig {
  /** As written, with whatever secrets it holds. */
  readonly push: string;
  readonly layers: number | undefined;
  readonly credentials: Credentials | undefined;
  /** Absolute paths. */
  readonly sign?: { readonly keyFile: string; readonly passwordFile?: string | undefined };
}

export type PostPublishConfig = (CommandConfig | CallConfig | SignalConfig | PushConfig) & {
  readonly retries: number;
};

export interface HttpConfig {
  /** `undefined`: all addresses. */
  readonly host: string | undefined;
  readonly port: number;
  readonly dashboard: boolean;
  readonly triggerTokenFile: string | undefined;
  readonly webhookSecretFile: string | undefined;
}

export interface DaemonConfig {
  readonly mounts: readonly MountConfig[];
  /** `undefined`: no port. */
  readonly http: HttpConfig | undefined;
  /** Mounts at work at once. */
  readonly maxActive: number;
  /** Failures in a row that a mount may have; `undefined`: any number. */
  readonly maxFailures: number | undefined;
  /** Milliseconds. */
  readonly shutdownGrace: number;
}

export const DEFAULTS = {
  period: standardOf("period"),
  timeout: 3_600_000,
  maxActive: 4,
  shutdownGrace: 10_000,
  port: 8080,
} as const;

/** Settings of the command line and the environment. Those of a mount stand for what the mount itself does not say; the others win over the file. */
export interface Overrides {
  readonly maxActive?: number | undefined;
  readonly maxFailures?: number | undefined;
  readonly shutdownGrace?: number | undefined;
  readonly http?: HttpOverrides | undefined;
  readonly mount?: MountDefaults | undefined;
}

export type HttpOverrides = { readonly [Key in keyof HttpConfig]?: HttpConfig[Key] | undefined } & {
  readonly enabled?: boolean | undefined;
};

export type MountDefaults = {
  readonly [Key in keyof MountOptions]?: MountOptions[Key] | undefined;
} & { readonly adapter?: string | undefined };

/** One mount, of sources layered over each other. */
export function configFromEnvironment(
  sources: readonly string[],
  target: string,
  { mount = {}, http = {}, ...own }: Overrides,
): DaemonConfig {
  const { adapter, ...options } = mount;
  return {
    mounts: [
      {
        name: nameOf(target),
        sources: sources.map((url) => ({ url })),
        adapter: adapter === undefined ? undefined : { name: adapter, isOwn: true },
        options: mountOptions(options, target),
        hooks: { postPublish: [] },
      },
    ],
    http: httpConfig(http),
    maxActive: own.maxActive ?? DEFAULTS.maxActive,
    maxFailures: own.maxFailures,
    shutdownGrace: own.shutdownGrace ?? DEFAULTS.shutdownGrace,
  };
}

export function httpConfig(http: HttpOverrides): HttpConfig | undefined {
  if (http.enabled === false) return undefined;
  return {
    host: http.host,
    port: http.port ?? DEFAULTS.port,
    dashboard: http.dashboard ?? true,
    triggerTokenFile: http.triggerTokenFile,
    webhookSecretFile: http.webhookSecretFile,
  };
}

/** With the defaults of a mount that is followed for long. */
export function mountOptions(options: MountDefaults, target: string): MountOptions {
  return {
    ...definedOf(options),
    period: options.period ?? DEFAULTS.period,
    timeout: options.timeout ?? DEFAULTS.timeout,
    target,
  };
}

/** The target's last element, of letters, digits, dots and dashes. */
export function nameOf(target: string): string {
  const name = basename(target).replace(/[^A-Za-z0-9._-]+/g, "-");
  return /^[A-Za-z0-9]/.test(name) ? name.slice(0, 63) : "content";
}

/** Without the keys that are `undefined`, which would hide a default. */
export function definedOf<Value extends object>(
  value: Value,
): { [Key in keyof Value]?: NonNullable<Value[Key]> } {
  return Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined)) as {
    [Key in keyof Value]?: NonNullable<Value[Key]>;
  };
}
