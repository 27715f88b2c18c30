/** Against ssh2's own server side, for want of another; test/real has OpenSSH. */
import { tmpdir } from "node:os";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { makeShare } from "../../../test/support/share.ts";
import { sftpAdapter } from "../src/adapter.ts";
import { same, startSftpServer } from "./server.ts";

const PASSWORD = "pass word%";
const server = await startSftpServer({
  admit: (context) => context.method === "password" && same(context.password, PASSWORD),
});
vitest.afterAll(() => server.close());

function url(directory: string, port: number, password = PASSWORD): string {
  const path = directory.split("/").map(encodeURIComponent).join("/");
  return `sftp://user:${encodeURIComponent(password)}@127.0.0.1:${port}${path}`;
}

const options = { hostKey: server.fingerprint };

describeAdapter(
  vitest,
  {
    adapter: sftpAdapter,
    traits: { network: "tcp", integrity: true },
    failures: {
      "not-found": (store) => ({ url: `${store.source({}).url}/missing`, options }),
      auth: () => ({ url: url("/", server.port, "incorrect"), options }),
    },
    create: (files) =>
      makeShare(files, {
        parent: tmpdir(),
        server: { host: "127.0.0.1", port: server.port },
        address: (directory, port) => ({ url: url(directory, port), options }),
      }),
  },
  { largeFile: 4 << 20, manyFiles: 500 },
);
