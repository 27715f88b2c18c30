import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { describeAdapter, type StoreFile, type StoreFiles } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { fileAdapter } from "../src/adapter.ts";

describeAdapter(vitest, {
  adapter: fileAdapter,
  failures: { "not-found": (store) => ({ url: `${store.source({}).url}/missing` }) },
  async create(files) {
    const root = mkdtempSync(join(tmpdir(), "pannier-file-"));
    const change = async (changes: StoreFiles) => {
      for (const [path, file] of changes) {
        if (file === undefined) rmSync(join(root, path), { recursive: true });
      }
      for (const [path, file] of changes) {
        if (file !== undefined) put(join(root, path), file);
      }
      await sleep(60); // Until modification times are no longer racy.
    };
    await change(files);
    return {
      source: ({ directory = "" }) => ({ url: pathToFileURL(join(root, directory)).href }),
      change,
      close: async () => rmSync(root, { recursive: true }),
    };
  },
});

function put(path: string, file: StoreFile): void {
  mkdirSync(dirname(path), { recursive: true });
  if (file.kind === "symlink") return symlinkSync(file.target, path);
  writeFileSync(path, file.content);
  if (file.mode !== undefined) chmodSync(path, file.mode);
}
