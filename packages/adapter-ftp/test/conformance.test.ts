/** Against a small server in the process, for want of another; test/real has vsftpd and proftpd. */
import { tmpdir } from "node:os";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { makeShare } from "../../../test/support/share.ts";
import { ftpAdapter } from "../src/adapter.ts";
import { startFtpServer } from "./server.ts";

const PASSWORD = "pass word%";

for (const mlsd of [true, false]) {
  const server = await startFtpServer({ password: PASSWORD, mlsd });
  vitest.afterAll(() => server.close());
  const url = (directory: string, port: number, password = PASSWORD) => {
    const path = directory.split("/").map(encodeURIComponent).join("/");
    return `ftp://user:${encodeURIComponent(password)}@127.0.0.1:${port}${path}`;
  };

  vitest.describe(mlsd ? "listed for programs" : "listed for people", () => {
    describeAdapter(
      vitest,
      {
        adapter: ftpAdapter,
        // A line break is the end of a command.
        traits: { network: "tcp", holds: (path) => !/[\r\n]/.test(path) },
        failures: {
          "not-found": (store) => ({ url: `${store.source({}).url}/missing` }),
          auth: () => ({ url: url("/", server.port, "incorrect") }),
        },
        create: (files) =>
          makeShare(files, {
            parent: tmpdir(),
            server: { host: "127.0.0.1", port: server.port },
            address: (directory, port) => ({ url: url(directory, port) }),
          }),
      },
      { largeFile: 4 << 20, manyFiles: 300 },
    );
  });
}
