import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { memoryAdapter, memoryStore } from "./memory-adapter.ts";

describeAdapter(vitest, {
  adapter: memoryAdapter,
  traits: { mtimes: false },
  failures: { "not-found": () => ({ url: "memory://missing" }) },
  create: memoryStore,
});
