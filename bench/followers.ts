/** What a change costs the registry for each of many followers of one tag: requests and bytes, counted there. */
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSource, readAll } from "@pannier/adapter-kit";
import { oci } from "@pannier/adapter-oci";
import type { Source } from "@pannier/core/adapter";
import { pushFiles } from "../packages/artifact/test/trees.ts";
import { openRegistry, type TestRegistry } from "../test/support/registry.ts";
import { markdown } from "./measure.ts";

const FILES = 2_000;
const CHANGES = 3;
const FOLLOWERS = Number(process.env["PANNIER_BENCH_FOLLOWERS"] ?? 1_000);
/** With one layer for all, each follower unpacks all of it at each change: a few tell as much. */
const FEW = 10;
/** Followers that are open at once. */
const GROUP = 50;

const { signal } = new AbortController();

export async function followers(): Promise<string> {
  const registry = await openRegistry();
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  try {
    const kinds = [
      ["as `pannier push` writes it", undefined, FOLLOWERS],
      ["`--layers 1`", 1, FEW],
    ] as const;
    const rows: string[][] = [];
    for (const [name, layers, count] of kinds)
      rows.push([name, ...(await follow(registry, layers, count, join(work, String(layers))))]);
    const head = ["image", "followers", "requests a change", "bytes a change", "requests a poll"];
    return markdown(head, rows);
  } finally {
    await registry.close();
    await rm(work, { recursive: true, force: true });
  }
}

type Stored = NonNullable<ReturnType<TestRegistry["manifests"]["get"]>>;

/** 5.4 KiB that compress to half, in directories of a hundred. */
function fileOf(index: number, version: number) {
  const lines = Array.from({ length: 43 }, (_, line) =>
    createHash("sha512").update(`${index} ${version} ${line}`).digest("hex"),
  );
  return { kind: "file", content: Buffer.from(lines.join("")) } as const;
}

async function follow(
  registry: TestRegistry,
  layers: number | undefined,
  count: number,
  work: string,
): Promise<string[]> {
  const repository = `bench/layers-${layers ?? "many"}`;
  const url = `oci+http://127.0.0.1:${registry.port}/${repository}:live`;
  const tag = `${repository}/live`;
  const files = new Map(
    Array.from({ length: FILES }, (_, i) => [`dir-${i % (FILES / 100)}/file-${i}`, fileOf(i, 0)]),
  );
  const versions: Stored[] = [];
  for (let change = 0; change <= CHANGES; change++) {
    if (change > 0) files.set(`dir-${change}/file-${change}`, fileOf(change, change));
    await pushFiles(files, url, { layers });
    versions.push(
      registry.manifests.get(tag) as NonNullable<ReturnType<typeof registry.manifests.get>>,
    );
  }
  const show = (change: number) => registry.manifests.set(tag, versions[change] as Stored);

  // Each begins with what one has learned: it is the changes that are counted.
  show(0);
  const learned = join(work, "learned");
  await mkdir(learned, { recursive: true });
  const first = await openFollower(url, learned);
  await first.follow();
  await first.close();
  let [requests, bytes, polls] = [0, 0, 0];
  for (let from = 0; from < count; from += GROUP) {
    show(0);
    const group = [];
    for (let i = from; i < Math.min(from + GROUP, count); i++) {
      const scratch = join(work, String(i));
      await cp(learned, scratch, { recursive: true });
      group.push(await openFollower(url, scratch));
    }
    for (const one of group) await one.follow();
    for (let change = 1; change <= CHANGES; change++) {
      show(change);
      const before = [registry.requests.length, registry.sent.bytes] as const;
      for (const one of group) await one.follow();
      requests += registry.requests.length - before[0];
      bytes += registry.sent.bytes - before[1];
    }
    const before = registry.requests.length;
    for (const one of group) await one.follow();
    polls += registry.requests.length - before;
    for (const one of group) await one.close();
  }
  const each = (sum: number) => Math.round(sum / count / CHANGES).toLocaleString("en");
  return [count.toLocaleString("en"), each(requests), each(bytes), String(polls / count)];
}

/** A source that is followed as the engine does it, without a target. */
async function openFollower(url: string, scratch: string) {
  const opened = await openSource(oci(url), { scratch: async () => scratch });
  const { source }: { source: Source } = opened;
  let revision: string | undefined;

  async function entriesOf(to: string) {
    const delta = revision === undefined ? undefined : await source.changes?.(revision, to, signal);
    const puts = [];
    if (delta === undefined) {
      for await (const batch of (await source.list(signal)).entries) puts.push(...batch);
      return { puts, isDelta: false };
    }
    for await (const batch of delta.changes)
      for (const change of batch) if (change.kind === "put") puts.push(change.entry);
    return { puts, isDelta: true };
  }

  return {
    async follow() {
      const { revision: to = "" } = (await source.probe(signal)) ?? {};
      if (to === revision) return;
      const { puts, isDelta } = await entriesOf(to);
      if (isDelta)
        for (const entry of puts) if (entry.kind === "file") await readAll(source, entry);
      await source.published?.(signal);
      revision = to;
    },
    close: () => opened.close(),
  };
}
