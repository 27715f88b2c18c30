/** What is pushed is followed: the suite of the oci adapter, on images that are pushed to a layout; test/real has registries. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeAdapter } from "@pannier/adapter-kit";
import { ociAdapter } from "@pannier/adapter-oci";
import * as vitest from "vitest";
import { imageStores } from "../../../test/support/stores.ts";
import { pushFiles } from "./trees.ts";

const directory = await mkdtemp(join(tmpdir(), "pannier-pushed-"));
vitest.afterAll(() => rm(directory, { recursive: true, force: true }));

describeAdapter(
  vitest,
  {
    adapter: ociAdapter as never,
    traits: {
      integrity: true,
      mtimes: false,
      holds: (path) => !/(?:^|\/)\.wh\./.test(path),
    },
    ...imageStores(
      (files, url) => pushFiles(files, url, { layers: 100 }),
      (name) => `oci+file://${directory}/${name}`,
    ),
  },
  { largeFile: 20 << 20, manyFiles: 1000 },
);
