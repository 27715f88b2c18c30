/** A blob server with one container, and sources of it. */
import { listAll, type OpenedSource, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";
import { onTestFinished, vi } from "vitest";
import { azure } from "../src/index.ts";
import { ACCOUNT, type Blob, type BlobServer, makeBlob, openBlobServer } from "./blob-server.ts";

const KEY = Buffer.from("a key that nobody may see").toString("base64");

export interface Container extends BlobServer {
  readonly blobs: Map<string, Blob>;
  open(
    path?: string,
    options?: NonNullable<Parameters<typeof azure>[1]>,
    credentials?: Credentials,
  ): Promise<OpenedSource>;
}

/** @param blobs by key; a text stands for a blob of that content */
export async function openContainer(
  blobs: Readonly<Record<string, string | Blob>> = {},
): Promise<Container> {
  for (const name of Object.keys(process.env)) {
    if (/^(AZURE|IDENTITY)_/.test(name)) vi.stubEnv(name, undefined);
  }
  onTestFinished(() => void vi.unstubAllEnvs());
  const server = await openBlobServer();
  onTestFinished(() => server.close());
  server.accepted.keys = [KEY];
  const made = new Map(
    Object.entries(blobs).map(([key, blob]) => [
      key,
      typeof blob === "string" ? makeBlob(blob) : blob,
    ]),
  );
  server.containers.set("box", made);
  return {
    ...server,
    blobs: made,
    async open(path = "", options = {}, credentials = { password: KEY }) {
      const spec = azure(`az://${ACCOUNT}/box/${path}`, { endpoint: server.endpoint, ...options });
      const opened = await openSource(spec, { credentials });
      onTestFinished(() => opened.close());
      return opened;
    },
  };
}

/** Path → content of all there is. */
export async function contents({ source }: OpenedSource): Promise<Record<string, string>> {
  const { entries } = await listAll(source);
  const found: Record<string, string> = {};
  for (const [path, entry] of entries) {
    if (entry.kind === "file") found[path] = String(await readAll(source, entry));
  }
  return found;
}
