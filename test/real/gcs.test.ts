/** The gcs adapter against fake-gcs-server. */
import { describeAdapter } from "@pannier/adapter-kit";
import { gcsAdapter } from "@pannier/adapter-gcs";
import * as vitest from "vitest";
import { apiClient } from "../../packages/adapter-gcs/test/api-client.ts";
import { createStore } from "../../packages/adapter-gcs/test/stores.ts";
import { describeWith } from "./support.ts";

describeWith("gcs", "Google Cloud Storage from fake-gcs-server", (gcs) => {
  const client = apiClient(gcs.endpoint);

  describeAdapter(vitest, {
    adapter: gcsAdapter as never,
    traits: { symlinks: false, modes: "none", network: "http" },
    failures: {
      "not-found": (store) => ({ ...store.source({}), url: "gs://no-such-bucket/" }),
    },
    create: createStore(() => client, { options: { anonymous: true } }),
  });
});
