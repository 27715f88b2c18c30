import { describeAdapter, type Harness, type StoreFiles } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import {
  type Content,
  type GitServer,
  gitVersion,
  startGitServer,
} from "../../../test/support/git-server.ts";
import { gitAdapter } from "../src/index.ts";

const BASIC = `Basic ${Buffer.from("ada:swordfish").toString("base64")}`;
const ENGINES = ["cli", "js"] as const;
let server: GitServer;
let count = 0;

vitest.beforeAll(async () => {
  if (gitVersion !== undefined) server = await startGitServer();
});
vitest.afterAll(() => server?.close());

/** One server; each store is a repository of its own on it. */
function harness(engine: "cli" | "js"): Harness {
  return {
    adapter: gitAdapter as unknown as Harness["adapter"],
    traits: {
      modes: "executable",
      network: "http",
      integrity: true,
      sizes: engine === "cli",
    },
    async create(files) {
      const name = `store-${count++}.git`;
      const repository = await server.repository(name);
      await repository.commit(toContents(files));
      return {
        server: { host: "127.0.0.1", port: server.port },
        source: ({ directory, port = server.port }) => ({
          url: `git+http://127.0.0.1:${port}/${name}`,
          options: { engine, ...(directory === undefined ? {} : { path: directory }) },
        }),
        async change(changed) {
          await repository.commit(toContents(changed));
        },
        close: async () => {},
      };
    },
    failures: {
      "not-found": (store) => {
        const address = store.source({});
        return { ...address, url: address.url.replace("/store-", "/missing-") };
      },
      auth: (store) => {
        server.allowed = [BASIC];
        vitest.onTestFinished(() => {
          server.allowed = undefined;
        });
        const address = store.source({});
        return { ...address, credentials: { username: "ada", password: "wrong-password" } };
      },
    },
  };
}

function toContents(files: StoreFiles): Record<string, Content | undefined> {
  const contents: Record<string, Content | undefined> = Object.create(null);
  for (const [path, file] of files) {
    if (file === undefined) contents[path] = undefined;
    else if (file.kind === "symlink") contents[path] = { symlink: file.target };
    else if (((file.mode ?? 0) & 0o111) !== 0) contents[path] = { executable: file.content };
    else contents[path] = file.content;
  }
  return contents;
}

/** The other one has no lane to be tried. */
const engines = process.env["PANNIER_TEST_LANES"] === "always" ? ["cli" as const] : ENGINES;

for (const engine of engines) {
  const title = `engine=${engine}${gitVersion === undefined ? " (skipped: git is not installed)" : ""}`;
  vitest.describe.skipIf(gitVersion === undefined)(title, () => {
    describeAdapter(vitest, harness(engine), { largeFile: 6 << 20 });
  });
}
