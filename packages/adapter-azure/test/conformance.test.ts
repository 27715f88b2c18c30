import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { ACCOUNT, type BlobServer, makeBlob, openBlobServer } from "./blob-server.ts";
import { createStore } from "./stores.ts";
import { azureAdapter } from "../src/index.ts";

const KEY = Buffer.from("a key that nobody may see").toString("base64");
const WRONG = Buffer.from("another that nobody may see").toString("base64");
const SAS = "sv=2024-11-04&sp=rl&sig=a%20signature%20that%20nobody%20may%20see";

let server: BlobServer;
vitest.beforeAll(async () => {
  for (const name of Object.keys(process.env)) {
    if (/^(AZURE|IDENTITY)_/.test(name)) vitest.vi.stubEnv(name, undefined);
  }
  server = await openBlobServer();
  server.accepted.keys = [KEY];
  server.accepted.sas = [SAS];
});
vitest.afterAll(() => server.close());

const client = () => ({
  port: server.port,
  account: ACCOUNT,
  createBucket: (container: string) => void server.containers.set(container, new Map()),
  put: (container: string, key: string, content: Uint8Array) =>
    void server.containers.get(container)?.set(key, makeBlob(content)),
  remove: (container: string, key: string) => void server.containers.get(container)?.delete(key),
});

const harness = {
  adapter: azureAdapter as never,
  traits: { symlinks: false, modes: "none", network: "http" },
  secrets: [KEY, WRONG, SAS],
} as const;

vitest.describe("a container, by key", () => {
  describeAdapter(
    vitest,
    {
      ...harness,
      failures: {
        auth: (store) => ({ ...store.source({}), credentials: { password: WRONG } }),
        "not-found": (store) => ({ ...store.source({}), url: `az://${ACCOUNT}/no-such-one/` }),
      },
      create: createStore(client, { credentials: { password: KEY } }),
    },
    { largeFile: 16 << 20 },
  );
});

vitest.describe("a container, by a signature that is the same for all", () => {
  vitest.beforeEach(() => void vitest.vi.stubEnv("AZURE_STORAGE_SAS_TOKEN", SAS));
  describeAdapter(
    vitest,
    { ...harness, create: createStore(client, {}) },
    { largeFile: 4 << 20, manyFiles: 100 },
  );
});
