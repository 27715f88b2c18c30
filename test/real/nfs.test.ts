/** The nfs adapter against NFS-Ganesha. */
import { describeAdapter } from "@pannier/adapter-kit";
import { nfs, nfsAdapter } from "@pannier/adapter-nfs";
import * as vitest from "vitest";
import { describe } from "vitest";
import { makeShare } from "../support/share.ts";
import { runNfs } from "./servers/nfs.ts";
import { shareTrials } from "./share-trials.ts";
import { describeWith } from "./support.ts";

function urlOf(directory: string, port: number): string {
  return `nfs://127.0.0.1:${port}${directory.split("/").map(encodeURIComponent).join("/")}`;
}

describeWith("nfs", "NFS version 4 from NFS-Ganesha", (server) => {
  const { root, port } = server;

  describeAdapter(vitest, {
    adapter: nfsAdapter as never,
    traits: { network: "tcp" },
    failures: {
      "not-found": (store) => ({ url: `${store.source({}).url}/missing` }),
      unavailable: () => ({ url: "nfs://127.0.0.1:1/export/" }),
    },
    create: (files) =>
      makeShare(files, {
        parent: root,
        server: { host: "127.0.0.1", port },
        address: (at, one) => ({ url: urlOf(at, one) }),
      }),
  });

  describe("a server in trouble", () => {
    shareTrials({
      root,
      port,
      start: (one) => runNfs(server, one),
      source: (at, one) => nfs(urlOf(at, one)),
      credentials: {},
    });
  });
});
