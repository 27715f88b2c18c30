import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { type GcsServer, startGcsServer } from "./gcs-server.ts";
import { createStore } from "./stores.ts";
import { gcsAdapter } from "../src/index.ts";

const TOKEN = "ya29.a-token-that-nobody-may-see";

vitest.describe("a bucket", async () => {
  const folder = await mkdtemp(join(tmpdir(), "pannier-gcs-"));
  const tokenFile = join(folder, "token");
  let server: GcsServer;

  vitest.beforeAll(async () => {
    // Nothing of this machine, and no metadata server.
    vitest.vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", "");
    vitest.vi.stubEnv("CLOUDSDK_CONFIG", folder);
    vitest.vi.stubEnv("METADATA_SERVER_DETECTION", "none");
    vitest.vi.stubEnv("STORAGE_EMULATOR_HOST", undefined);
    await writeFile(tokenFile, TOKEN);
    server = await startGcsServer();
    server.tokens = new Set([TOKEN]);
  });
  vitest.afterAll(async () => {
    await server.close();
    await rm(folder, { recursive: true });
    vitest.vi.unstubAllEnvs();
  });

  describeAdapter(
    vitest,
    {
      adapter: gcsAdapter as never,
      traits: { symlinks: false, modes: "none", network: "http" },
      secrets: [TOKEN],
      failures: {
        auth: (store) => ({ ...store.source({}), credentials: {} }),
        "not-found": (store) => ({ ...store.source({}), url: "gs://no-such-bucket/" }),
      },
      create: createStore(() => server, { credentials: { tokenFile } }),
    },
    { largeFile: 16 << 20 },
  );
});
