import { gzipSync } from "node:zlib";
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { makeStores, renderArchive, renderIndex, renderManifest } from "./stores.ts";
import { httpAdapter } from "../src/index.ts";

const sizes = { largeFile: 16 << 20 };
const adapter = httpAdapter as never;
const encode = (path: string) => path.split("/").map(encodeURIComponent).join("/");

vitest.describe("a directory with a manifest", () => {
  const stores = makeStores(renderManifest, (directory) => ({
    path: "",
    options: { manifest: "manifest.json", path: directory },
  }));
  vitest.afterAll(() => stores.close());
  const traits = { symlinks: false, network: "http", integrity: true } as const;
  describeAdapter(vitest, { adapter, traits, ...stores }, sizes);
});

vitest.describe("a directory with index pages", () => {
  const stores = makeStores(renderIndex, (directory) => ({
    path: directory === undefined ? "" : `${encode(directory)}/`,
    options: { manifest: "none" },
  }));
  vitest.afterAll(() => stores.close());
  const traits = { symlinks: false, modes: "none", network: "http" } as const;
  describeAdapter(vitest, { adapter, traits, ...stores }, sizes);
});

vitest.describe("an archive", () => {
  const stores = makeStores(
    (tree) => renderArchive(tree, (tar) => gzipSync(tar, { level: 0 })),
    (directory) => ({ path: "tree.tar.gz", options: { path: directory } }),
  );
  vitest.afterAll(() => stores.close());
  const traits = { network: "http", integrity: true } as const;
  describeAdapter(vitest, { adapter, traits, ...stores }, sizes);
});
