/** An adapter that takes Node's own modules in each way that there is. Its only file, `seen`, tells what it sees of them. */
import * as fs from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import http, { Agent } from "http";
import http2, { constants } from "node:http2";
import { join } from "node:path";
import zlib from "node:zlib";
import old from "./old.cjs";

class OwnAgent extends Agent {}

async function see(directory) {
  const page = join(directory, "page");
  await writeFile(page, "page");
  const assigned = [http.assigned, http2.assigned, Object.entries(http2).at(-1)?.[1]];
  const names = Object.keys(http2).filter((name) => name !== "assigned");
  delete http2.assigned;
  return JSON.stringify({
    agent: new OwnAgent({ maxSockets: 3 }) instanceof http.Agent,
    sameAgent: old.Agent === Agent,
    read: await readFile(page, "utf8"),
    stat: fs.statSync(page) instanceof fs.Stats,
    constants: { ...http2.constants },
    names: Object.keys(constants),
    entries: Object.entries(constants),
    http2: names,
    connect: typeof http2.connect === "function",
    assigned,
    deleted: !("assigned" in http2),
    zlib: zlib === process.getBuiltinModule("node:zlib"),
    place: old.place,
  });
}

export const adapter = {
  name: "node",
  package: "pannier-adapter-shelf",
  description: "what it sees of Node",
  schemes: ["node"],
  options: {},
  async open(_location, _options, context) {
    const seen = new TextEncoder().encode(await see(await context.scratch()));
    return {
      async probe() {},
      async list() {
        const file = { kind: "file", path: "seen", size: seen.byteLength, fingerprint: "1" };
        return { entries: [[file]], ordered: true };
      },
      async read() {
        return seen;
      },
      async close() {},
    };
  },
};
