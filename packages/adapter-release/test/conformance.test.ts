import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { describeAdapter, type Store, type StoreFile, type StoreFiles } from "@pannier/adapter-kit";
import { pack } from "tar-stream";
import * as vitest from "vitest";
import { type ForgeServer, startForge } from "./forge.ts";
import { releaseAdapter } from "../src/index.ts";

const TOKEN = "aTokenThatNobodyMaySee";

vitest.describe("an archive of a release", () => {
  let locked: ForgeServer;
  let empty: ForgeServer;
  const servers: ForgeServer[] = [];
  const start = async () => {
    const server = await startForge();
    servers.push(server);
    return server;
  };

  vitest.beforeAll(async () => {
    vitest.vi.stubEnv("HOME", "/nowhere");
    locked = await start();
    locked.intercept = (_, response) => {
      response.writeHead(401).end();
      return true;
    };
    empty = await start();
  });
  vitest.afterAll(async () => {
    for (const server of servers) await server.close();
    vitest.vi.unstubAllEnvs();
  });

  describeAdapter(
    vitest,
    {
      adapter: releaseAdapter as never,
      traits: { network: "http", integrity: true },
      secrets: [TOKEN],
      failures: {
        auth: () => ({
          url: `release+http://me:${TOKEN}@127.0.0.1:${locked.port}/org/repo`,
          options: { api: "github" },
        }),
        "not-found": () => ({
          url: `release+http://127.0.0.1:${empty.port}/org/repo`,
          options: { api: "github" },
        }),
      },
      async create(files) {
        const server = await start();
        const tree = new Map<string, StoreFile>();
        let version = 0;
        const change = async (changes: StoreFiles) => {
          for (const [path, file] of changes) {
            if (file === undefined) tree.delete(path);
            else tree.set(path, file);
          }
          const archive = gzipSync(await tarOf(tree, version), { level: 0 });
          const tag = `v1.0.${++version}`;
          server.releases.unshift({ tag, assets: { "tree.tgz": archive } });
        };
        await change(files);
        return {
          source: ({ directory, port = server.port }) => ({
            url: `release+http://127.0.0.1:${port}/org/repo`,
            options: { api: "github", path: directory },
          }),
          change,
          server: { host: "127.0.0.1", port: server.port },
          close: () => server.close(),
        } satisfies Store;
      },
    },
    { largeFile: 16 << 20 },
  );
});

async function tarOf(tree: ReadonlyMap<string, StoreFile>, version: number): Promise<Buffer> {
  const archive = pack();
  const mtime = new Date(1_700_000_000_000 + version * 60_000);
  for (const [name, file] of tree) {
    if (file.kind === "symlink")
      archive.entry({ name, mtime, type: "symlink", linkname: file.target });
    else archive.entry({ name, mtime, mode: file.mode ?? 0o644 }, Buffer.from(file.content));
  }
  archive.finalize();
  return buffer(archive as unknown as AsyncIterable<Buffer>);
}
