/** What is pushed is followed: the suite of the oci adapter, on images that are pushed. */
import { describeAdapter } from "@pannier/adapter-kit";
import { ociAdapter } from "@pannier/adapter-oci";
import * as vitest from "vitest";
import { makePushedStores } from "./stores.ts";
import { openRegistry } from "../../../test/support/registry.ts";

const registry = await openRegistry();
vitest.afterAll(() => registry.close());

for (const layers of [100, 1]) {
  vitest.describe(`pushed in ${layers} layers at most`, () => {
    const stores = makePushedStores(
      layers,
      (name, port = registry.port) => `oci+http://127.0.0.1:${port}/team/${name}`,
      { host: "127.0.0.1", port: registry.port },
    );
    describeAdapter(
      vitest,
      {
        adapter: ociAdapter as never,
        traits: {
          network: "http",
          integrity: true,
          mtimes: false,
          holds: (path) => !/(?:^|\/)\.wh\./.test(path),
        },
        ...stores,
      },
      { largeFile: 20 << 20 },
    );
  });
}
