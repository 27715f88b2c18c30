/** Connections: undici pools, one set per proxy and per version of the certificate files. */
import { stat } from "node:fs/promises";
import {
  type Credentials,
  largeReads,
  readCredentialFile,
  UsageError,
} from "@pannier/core/adapter";
import type { Dispatcher, Pool as PoolType } from "undici";
import { systemAuthorities } from "./authorities.ts";
import type { LaneTarget } from "./lane/connection.ts";
import { type Environment, proxyFor } from "./proxy.ts";

/** Enough for signed URLs in `Location` and long cookies; a server that sends more is up to something. */
const MAX_HEADER_BYTES = 32 * 1024;

/** Options of a TLS connection as texts, which count before the files of {@link Credentials}. */
export interface TlsTexts {
  /** PEM certificates trusted in addition to the system's. */
  readonly ca?: string | undefined;
  /** PEM client certificate, and its key. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** Whose certificate the server has to show. Default: the URL's host. */
  readonly servername?: string | undefined;
}

export interface DispatcherOptions {
  readonly credentials: Credentials;
  readonly tls: TlsTexts;
  readonly env: Environment;
  readonly idleTimeout: number;
  readonly connections: number;
}

/** Hands out the dispatcher for a URL. */
export interface Dispatchers {
  for(url: URL): Promise<Dispatcher>;
  /** How to connect to a URL's server without a dispatcher; `undefined` where a proxy is in between. */
  direct(url: URL): Promise<LaneTarget | undefined>;
  close(): Promise<void>;
}

export function createDispatchers(options: DispatcherOptions): Dispatchers {
  const { credentials, tls, env } = options;
  const files = [credentials.caFile, credentials.clientCertFile, credentials.clientKeyFile].filter(
    (path) => path !== undefined,
  );
  let version = "";
  let pools = new Map<string, Promise<Dispatcher>>();
  let target: LaneTarget | undefined;
  /** Of each origin; `undefined`: directly. The variables are those of the start. */
  const proxies = new Map<string, URL | undefined>();

  function proxyOf(url: URL): URL | undefined {
    if (!proxies.has(url.origin)) proxies.set(url.origin, proxyFor(url, env));
    return proxies.get(url.origin);
  }

  return {
    async for(url) {
      const now = files.length > 0 ? await versionOf(files) : version;
      if (now !== version) {
        // Rotated: requests under way end on the old connections, new ones use the new files.
        for (const pool of pools.values()) pool.then((old) => old.close()).catch(() => {});
        pools = new Map();
        version = now;
      }
      const proxy = proxyOf(url);
      const key = proxy?.href ?? "";
      let pool = pools.get(key);
      if (pool === undefined) {
        pool = makeDispatcher(options, proxy);
        pools.set(key, pool);
        pool.catch(() => pools.delete(key));
      }
      return pool;
    },
    async direct(url) {
      if (proxyOf(url) !== undefined) return undefined;
      const now = files.length > 0 ? await versionOf(files) : "";
      if (target?.origin !== url.origin || target.tls.version !== now)
        target = {
          origin: url.origin,
          tls: { version: now, ...(await readOwnFiles(credentials)), ...given(tls) },
        };
      return target;
    },
    async close() {
      await Promise.allSettled([...pools.values()].map(async (pool) => (await pool).destroy()));
    },
  };
}

async function makeDispatcher(
  options: DispatcherOptions,
  proxy: URL | undefined,
): Promise<Dispatcher> {
  const { ca, ...own } = { ...(await readOwnFiles(options.credentials)), ...given(options.tls) };
  const tls = ca === undefined ? own : { ...own, ca: [...systemAuthorities(), ca] };
  const common = {
    // HTTP/1.1 on several connections: what every server, proxy and fault we know of agrees on.
    allowH2: false,
    connections: options.connections,
    connectTimeout: options.idleTimeout,
    headersTimeout: options.idleTimeout,
    bodyTimeout: options.idleTimeout,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  // One by one: all of undici 8 at once takes Node 22.15 for a decompressor that we have no use for.
  // Not undici 7, whose process ends when a server closes a connection while a body is held back (nodejs/undici#5360).
  if (proxy === undefined) {
    const { default: Agent } = await import("undici/lib/dispatcher/agent.js");
    return new Agent({
      ...common,
      connect: { ...tls, timeout: options.idleTimeout, onread: largeReads() },
    });
  }
  const [{ default: ProxyAgent }, { default: Pool }, { default: connect }] = await Promise.all([
    import("undici/lib/dispatcher/proxy-agent.js"),
    import("undici/lib/dispatcher/pool.js"),
    // Of every dispatcher where all of undici is loaded; a proxy's is asked for it.
    import("undici/lib/api/api-connect.js"),
  ]);
  return new ProxyAgent({
    ...common,
    uri: proxy.href,
    requestTls: tls,
    proxyTls: tls,
    // Plain http is forwarded, as proxies expect; https is tunnelled all the same.
    proxyTunnel: false,
    // Without this the answer to CONNECT is waited for five minutes.
    clientFactory: (origin, init) =>
      Object.assign(
        new Pool(origin, { ...(init as PoolType.Options), headersTimeout: options.idleTimeout }),
        { connect },
      ),
  });
}

/** Options of `tls.connect`. */
interface TlsFiles {
  ca?: string[];
  cert?: string;
  key?: string;
}

/** Without what is undefined: a file counts there. */
function given(texts: TlsTexts): Partial<Record<keyof TlsTexts, string>> {
  return Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined));
}

/** What the files of {@link Credentials} mean for a TLS connection, read again. @throws UsageError where one cannot be used */
export async function readTlsFiles(credentials: Credentials): Promise<TlsFiles> {
  const { ca, ...own } = await readOwnFiles(credentials);
  return ca === undefined ? own : { ...own, ca: [...systemAuthorities(), ca] };
}

/** The same without the authorities that are trusted anyway. */
async function readOwnFiles(
  credentials: Credentials,
): Promise<Omit<TlsFiles, "ca"> & { ca?: string }> {
  const { caFile, clientCertFile, clientKeyFile } = credentials;
  const tls: Omit<TlsFiles, "ca"> & { ca?: string } = {};
  if (caFile !== undefined) tls.ca = await readPem(caFile, "CA file");
  if (clientCertFile !== undefined) {
    tls.cert = await readPem(clientCertFile, "client certificate");
    // One file may hold both.
    tls.key = await readPem(clientKeyFile ?? clientCertFile, "client key");
  }
  return tls;
}

async function readPem(path: string, what: string): Promise<string> {
  const text = (await readCredentialFile(path, what)).toString();
  if (text.includes("-----BEGIN ")) return text;
  throw new UsageError(`the ${what} ${path} is not PEM`, "it has to hold -----BEGIN … lines");
}

/** Changes when a file is replaced, also by a symlink swap as Kubernetes does it. */
async function versionOf(files: readonly string[]): Promise<string> {
  const stats = await Promise.all(
    files.map(async (path) => {
      try {
        const { dev, ino, size, mtimeMs } = await stat(path);
        return `${dev}:${ino}:${size}:${mtimeMs}`;
      } catch (error) {
        throw unreadable(path, "certificate file", error);
      }
    }),
  );
  return stats.join("|");
}

function unreadable(path: string, what: string, error: unknown): UsageError {
  const { code } = error as NodeJS.ErrnoException;
  return new UsageError(`the ${what} ${path} cannot be read (${code ?? "unknown"})`);
}
