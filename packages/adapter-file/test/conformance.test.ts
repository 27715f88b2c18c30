import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
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
    };
    await change(files);
    return {
      source: ({ directory = "" }) => ({ url: pathToFileURL(join(root, directory)).href }),
      change,
      close: async () => rmSync(root, { recursive: true }),
    };
  },
});

/** When the last file was written, as files say; milliseconds. */
let written = Date.now() - 24 * 60 * 60 * 1000;

function put(path: string, file: StoreFile): void {
  mkdirSync(dirname(path), { recursive: true });
  if (file.kind === "symlink") return symlinkSync(file.target, path);
  writeFileSync(path, file.content);
  // Not just now, when it could change again without showing.
  written += 1000;
  utimesSync(path, written / 1000, written / 1000);
  if (file.mode !== undefined) chmodSync(path, file.mode);
}
