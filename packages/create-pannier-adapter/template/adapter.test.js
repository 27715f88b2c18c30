/** The suite that Pannier's own adapters run: listings, names, content, changes, faults, lifecycle. */
import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { adapter } from "./adapter.js";
import { createShelf } from "./server.js";

describeAdapter(vitest, {
  adapter,
  // What the source cannot tell. Each is a test less.
  traits: { network: "http", symlinks: false, modes: "none", mtimes: false, directories: false },
  failures: {
    "not-found": async (shelf) => ({ url: shelf.source({}).url.replace(/shelf-\d+/, "missing") }),
  },
  create: createShelf,
});
