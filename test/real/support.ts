import { existsSync } from "node:fs";
import { describe, inject, test } from "vitest";
import type { ServerName, Servers } from "./servers/start.ts";

declare module "vitest" {
  interface ProvidedContext {
    servers: Servers;
  }
}

const servers: Servers = inject("servers");

/** A suite that needs a server; skipped by name where that is not installed. */
export function describeWith<Name extends ServerName>(
  name: Name,
  title: string,
  suite: (server: NonNullable<Servers[Name]>) => void,
): void {
  const server = servers[name];
  if (server !== undefined) describe(title, () => suite(server));
  else test.skip(title, { meta: { skipReason: servers.missing[name] ?? `no ${name}` } }, () => {});
}

/** A suite that needs a program of the system; skipped by name where that is not installed. */
export function describeWithProgram(path: string, title: string, suite: () => void): void {
  if (existsSync(path)) describe(title, suite);
  else test.skip(title, { meta: { skipReason: `no ${path}` } }, () => {});
}
