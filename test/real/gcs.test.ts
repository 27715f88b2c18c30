/** The gcs adapter against fake-gcs-server. */
import { describeAdapter } from "@pannier/adapter-kit";
import { gcsAdapter } from "@pannier/adapter-gcs";
import * as vitest from "vitest";
import { createStore, type Server } from "../../packages/adapter-gcs/test/stores.ts";
import type { GcsServer } from "./servers/gcs.ts";
import { describeWith } from "./support.ts";

describeWith("gcs", "Google Cloud Storage from fake-gcs-server", (gcs) => {
  describeAdapter(vitest, {
    adapter: gcsAdapter as never,
    traits: { symlinks: false, modes: "none", network: "http" },
    failures: {
      "not-found": (store) => ({ ...store.source({}), url: "gs://no-such-bucket/" }),
    },
    create: createStore(() => clientOf(gcs), { options: { anonymous: true } }),
  });
});

/** Writes by the API, which the adapter never does. */
function clientOf({ endpoint, port }: GcsServer): Server {
  const send = async (path: string, init: RequestInit) => {
    const response = await fetch(`${endpoint}${path}`, init);
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`${init.method} ${path}: ${response.status}`);
  };
  return {
    port,
    createBucket: (bucket) =>
      send("/storage/v1/b", { method: "POST", body: JSON.stringify({ name: bucket }) }),
    put: (bucket, key, content) => {
      const query = `uploadType=media&name=${encodeURIComponent(key)}`;
      const body = new Uint8Array(content);
      return send(`/upload/storage/v1/b/${bucket}/o?${query}`, { method: "POST", body });
    },
    remove: (bucket, key) =>
      send(`/storage/v1/b/${bucket}/o/${encodeURIComponent(key)}`, { method: "DELETE" }),
  };
}
