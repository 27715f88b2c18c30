import { describeAdapter, type StoreFiles } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { memory, memoryAdapter } from "./memory-adapter.ts";

let stores = 0;
let versions = 0;

describeAdapter(vitest, {
  adapter: memoryAdapter,
  traits: { mtimes: false },
  failures: { "not-found": () => ({ url: "memory://missing" }) },
  async create(files) {
    const name = `store-${++stores}`;
    memory.set(name, new Map());
    const change = async (changes: StoreFiles) => {
      const next = new Map(memory.get(name));
      for (const [path, file] of changes) {
        if (file === undefined) next.delete(path);
        else next.set(path, { ...file, version: ++versions });
      }
      memory.set(name, next);
    };
    await change(files);
    return {
      source: ({ directory = "" }) => ({
        url: `memory://${name}/${encodeURIComponent(directory)}`,
      }),
      change,
      close: async () => void memory.delete(name),
    };
  },
});
