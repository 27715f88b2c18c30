/** An adapter of somebody else, as `--adapter` loads it from a path. Its URLs: `shelf://HOST/`, where HOST says what happens. */
import { setTimeout } from "node:timers/promises";
import { type Adapter, type Entry, SourceError } from "@pannier/core/adapter";

const CONTENT = new TextEncoder().encode("hello\n");
const ENTRIES: readonly Entry[] = [
  { kind: "file", path: "a.txt", size: 6, mode: 0o644, mtime: 1_600_000_000_000, fingerprint: "1" },
  { kind: "file", path: "docs/b\u001b[31m.md", size: 6, fingerprint: "2" },
  { kind: "symlink", path: "latest", target: "a.txt" },
];

function* endless(): Generator<readonly Entry[]> {
  for (;;) yield ENTRIES;
}

function* torn(tries: number): Generator<readonly Entry[]> {
  if (tries < 2) throw new SourceError("unavailable", "the shelf shook");
  yield ENTRIES;
  throw new SourceError("unavailable", "the shelf broke");
}

const OPTIONS = {
  color: { type: "enum", values: ["red", "green"], default: "red", description: "of the shelf" },
  depth: { type: "integer", description: "how deep it is" },
} as const;

const shelf: Adapter<typeof OPTIONS> = {
  name: "shelf",
  package: "./shelf-adapter.ts",
  schemes: ["shelf"],
  options: OPTIONS,
  description: "Things on a shelf.",
  async open({ host, password }, _options, context) {
    let tries = 0;
    return {
      async probe() {
        context.request("probe");
        if (host === "locked")
          throw new SourceError("auth", `the shelf does not open with ${password}`, {
            reached: "answered",
            hint: "check credentials.password",
          });
        if (host === "keyless") throw new SourceError("auth", "there is no key to be found");
        if (host === "denied")
          throw new SourceError("auth", "not for you", { reached: "signed-in" });
        if (host === "dark") throw new SourceError("unavailable", "nobody is there");
        if (host === "quiet") return undefined;
        return { token: "1", revision: "r1" };
      },
      async list(signal) {
        context.request("list");
        await context.scratch();
        if (host === "slow") await setTimeout(60_000, undefined, { signal });
        // It comes back at the third try, and goes again after some entries where it is "torn".
        if (host === "shaky" && ++tries < 3)
          throw new SourceError("unavailable", "the shelf shook");
        if (host === "torn") return { ordered: false, entries: torn(++tries) };
        if (host === "fallen") {
          setImmediate(() => {
            throw new Error(`fell on ${password}`);
          });
          await setTimeout(60_000);
        }
        if (host === "broken") throw new TypeError("a mistake of the adapter");
        if (host === "endless") return { ordered: false, entries: endless() };
        return { ordered: true, entries: host === "empty" ? [] : [ENTRIES] };
      },
      async read() {
        if (host === "gone") throw new SourceError("not-found", "a.txt is gone");
        return CONTENT;
      },
      async close() {},
    };
  },
};

export default shelf;
