import { describeAdapter, type Store, type StoreFiles } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { type HubServer, startHub } from "./hub.ts";
import { hfAdapter } from "../src/index.ts";

vitest.describe("a model", () => {
  let hub: HubServer;
  let stores = 0;

  vitest.beforeAll(async () => {
    // Nothing of this machine.
    for (const name of ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_ENDPOINT", "XDG_CACHE_HOME"]) {
      vitest.vi.stubEnv(name, undefined);
    }
    vitest.vi.stubEnv("HOME", "/nowhere");
    hub = await startHub();
  });
  vitest.afterAll(async () => {
    await hub.close();
    vitest.vi.unstubAllEnvs();
  });

  describeAdapter(
    vitest,
    {
      adapter: hfAdapter as never,
      traits: { symlinks: false, modes: "none", mtimes: false, network: "http" },
      failures: {
        auth: (store) => ({ ...store.source({}), url: "hf://org/private" }),
        "not-found": (store) => ({ ...store.source({}), url: `${store.source({}).url}@gone` }),
      },
      async create(files) {
        const repository = `org/store-${++stores}`;
        const change = async (changes: StoreFiles) => {
          const contents = [...changes].map(
            ([path, file]) => [path, file?.kind === "file" ? file.content : undefined] as const,
          );
          hub.commit(`models/${repository}`, new Map(contents));
        };
        await change(files);
        return {
          source: ({ directory, port = hub.port }) => ({
            url: `hf://${repository}${directory === undefined ? "" : `/${encodePath(directory)}`}`,
            options: { endpoint: `http://127.0.0.1:${port}` },
          }),
          change,
          server: { host: "127.0.0.1", port: hub.port },
          close: async () => {},
        } satisfies Store;
      },
    },
    { largeFile: 16 << 20 },
  );
});

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}
