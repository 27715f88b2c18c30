/** Against a layout, and against a small registry in the process; test/real has the ones that people run. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { openRegistry } from "../../../test/support/registry.ts";
import { ociAdapter } from "../src/adapter.ts";
import { gzipLayer, membersOf } from "./images.ts";
import { makeStores, type Render } from "./stores.ts";

const sizes = { largeFile: 8 << 20 };
const adapter = ociAdapter as never;

const oneLayer: Render = async (files, modified) => [await gzipLayer(membersOf(files, modified))];

const byTitle: Render = async (files) =>
  [...files].flatMap(([title, file]) =>
    file.kind === "file"
      ? [
          {
            bytes: Buffer.from(file.content),
            mediaType: "application/octet-stream",
            annotations: { "org.opencontainers.image.title": title },
          },
        ]
      : [],
  );

const directory = await mkdtemp(join(tmpdir(), "pannier-layout-"));
vitest.afterAll(() => rm(directory, { recursive: true, force: true }));
const registry = await openRegistry();
vitest.afterAll(() => registry.close());
const server = { host: "127.0.0.1", port: registry.port };
const address = (name: string, port = registry.port) => `oci+http://127.0.0.1:${port}/team/${name}`;

vitest.describe("one layer in a registry", () => {
  const stores = makeStores(oneLayer, address, server);
  const traits = { network: "http", integrity: true } as const;
  describeAdapter(vitest, { adapter, traits, ...stores }, sizes);
});

/** Files by title cannot have modes or links. */
vitest.describe("a file a layer, as ORAS writes them", () => {
  const traits = {
    integrity: true,
    symlinks: false,
    modes: "none",
    mtimes: false,
  } as const;
  const stores = makeStores(byTitle, (name) => `oci+file://${directory}/${name}`);
  describeAdapter(vitest, { adapter, traits, ...stores }, { ...sizes, manyFiles: 300 });
});
