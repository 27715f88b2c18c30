/** The azure adapter against Azurite. */
import { azureAdapter } from "@pannier/adapter-azure";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { sdkClient } from "../../packages/adapter-azure/test/sdk-client.ts";
import { createStore } from "../../packages/adapter-azure/test/stores.ts";
import { describeWith } from "./support.ts";

const WRONG = Buffer.from("a key that nobody may see").toString("base64");

describeWith("azure", "Azure Blob Storage from Azurite", (azurite) => {
  const { account, key } = azurite;
  describeAdapter(vitest, {
    adapter: azureAdapter as never,
    traits: {
      symlinks: false,
      modes: "none",
      network: "http",
      // It takes a backslash for a slash.
      holds: (path) => !path.includes("\\"),
    },
    secrets: [key, WRONG],
    failures: {
      auth: (store) => ({ ...store.source({}), credentials: { password: WRONG } }),
      "not-found": (store) => ({ ...store.source({}), url: `az://${account}/no-such-one/` }),
    },
    create: createStore(() => sdkClient(azurite), { credentials: { password: key } }),
  });
});
