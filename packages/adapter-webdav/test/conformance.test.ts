/** Against a small server in the process, for want of another; test/real has Apache and nginx. */
import { tmpdir } from "node:os";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { makeShare } from "../../../test/support/share.ts";
import { webdavAdapter } from "../src/adapter.ts";
import { startDavServer } from "./server.ts";

const signIn = { by: "basic", user: "user", password: "pass word%" } as const;

for (const infinity of ["listed", "refused"] as const) {
  const server = await startDavServer({ infinity, etags: infinity === "listed", signIn });
  vitest.afterAll(() => server.close());

  vitest.describe(
    infinity === "listed" ? "all at once" : "collection by collection, without ETags",
    () => {
      describeAdapter(
        vitest,
        {
          adapter: webdavAdapter,
          traits: { network: "http", symlinks: false, modes: "none" },
          failures: {
            "not-found": (store) => ({
              ...store.source({}),
              url: `${store.source({}).url}/missing/`,
            }),
            auth: (store) => ({
              ...store.source({}),
              credentials: { username: "user", password: "incorrect" },
            }),
          },
          create: (files) =>
            makeShare(files, {
              parent: tmpdir(),
              server: { host: "127.0.0.1", port: server.port },
              address: (directory, port) => ({
                url: `dav://127.0.0.1:${port}${directory.split("/").map(encodeURIComponent).join("/")}`,
                credentials: { username: signIn.user, password: signIn.password },
              }),
            }),
        },
        { largeFile: 4 << 20, manyFiles: 300 },
      );
    },
  );
}
