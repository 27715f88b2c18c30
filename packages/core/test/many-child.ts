/** Plans a generated listing and prints the result. Arguments: number of entries, whether they come in order, number of layers. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Entry, plan } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";

const [count, ordered, layers] = process.argv.slice(2).map((argument) => JSON.parse(argument)) as [
  number,
  boolean,
  number,
];

async function* entries(): AsyncGenerator<Entry[]> {
  for (let from = 0; from < count; from += 1000) {
    yield Array.from({ length: Math.min(1000, count - from) }, (_, i) => {
      const number = String(ordered ? from + i : ((from + i) * 7919) % count).padStart(8, "0");
      const path = `directory-${number.slice(0, 5)}/file-${number}.html`;
      return { kind: "file", path, size: 100, fingerprint: number.repeat(5) };
    });
  }
}

const sources = Array.from({ length: layers }, (_, position) => {
  const source = memorySource({}, `layer${position}`);
  const { open } = source.adapter;
  return Object.assign(source, {
    adapter: {
      ...source.adapter,
      open: async (...args: Parameters<typeof open>) => ({
        ...(await open(...args)),
        list: () => Promise.resolve({ entries: entries(), ordered }),
      }),
    },
  });
});

const target = mkdtempSync(join(tmpdir(), "pannier-many-"));
try {
  const { added } = await plan({ sources, target });
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
  console.log(JSON.stringify({ added, peak: Math.round(Number(peak) / 1024) }));
} finally {
  rmSync(target, { recursive: true });
}
