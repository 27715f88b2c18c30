/** What a change costs a server for each of many followers: requests and bytes, counted between them. */
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFaultProxy, openSource, readAll } from "@pannier/adapter-kit";
import { git } from "@pannier/adapter-git";
import { oci } from "@pannier/adapter-oci";
import { s3 } from "@pannier/adapter-s3";
import type { SourceSpec } from "@pannier/core";
import type { FileEntry, Source } from "@pannier/core/adapter";
import { sdkServer } from "../packages/adapter-s3/test/sdk-client.ts";
import { pushFiles } from "../packages/artifact/test/trees.ts";
import { type RunningServers, startServers } from "../test/real/servers/start.ts";
import { openRegistry } from "../test/support/registry.ts";
import { markdown } from "./measure.ts";
import { initRepository } from "./repository.ts";
import { treeContent, treeFiles, treePath } from "./tree.ts";

const FILES = 2_000;
const CHANGES = Number(process.env["PANNIER_BENCH_CHANGES"] ?? 100);
const FOLLOWERS = Number(process.env["PANNIER_BENCH_FOLLOWERS"] ?? 1_000);
/** What a change costs is the same for each follower, and at each change: a few of one tell as much as many of both. */
const FEW_CHANGES = 3;
const FEW_FOLLOWERS = 10;
/** Followers that are open at once. */
const GROUP = 50;

const { signal } = new AbortController();

/** Something to follow. */
interface Ground {
  readonly server: { readonly host: string; readonly port: number };
  readonly spec: (port: number) => SourceSpec;
  /** Has it show the tree after so many changes; 0 begins anew. */
  show(change: number): Promise<void>;
}

export async function followers(): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  const registry = await openRegistry();
  const servers = await startServers(["git", "versity"]);
  try {
    const tag = await imageGround(registry, undefined);
    const layer = await imageGround(registry, 1);
    const repository = await gitGround(servers);
    const bucket = await bucketGround(servers);
    const plans = [
      ["a tag, as `pannier push` writes it", tag, FOLLOWERS, FEW_CHANGES],
      ["the same", tag, FEW_FOLLOWERS, CHANGES],
      ["a tag, pushed with `--layers 1`", layer, FEW_FOLLOWERS, FEW_CHANGES],
      ["a branch of git, smart HTTP", repository, FEW_FOLLOWERS, CHANGES],
      ["a bucket of S3", bucket, FEW_FOLLOWERS, CHANGES],
    ] as const;
    const rows: string[][] = [];
    for (const [index, [name, ground, count, changes]] of plans.entries()) {
      console.error(`  ${name}, ${count} followers, ${changes} changes`);
      const costs = await follow(ground, count, changes, join(work, String(index)));
      rows.push([name, count.toLocaleString("en"), String(changes), ...costs]);
    }
    const head = ["followed", "followers", "changes", "requests a change", "bytes a change"];
    return markdown([...head, "requests a poll", "bytes a poll"], rows);
  } finally {
    await registry.close();
    await servers.stop();
    await rm(work, { recursive: true, force: true });
  }
}

/** A change is another version of the file of its number. */
const changed = (change: number) => [treePath(change, FILES), treeContent(change, change)] as const;

async function imageGround(
  registry: Awaited<ReturnType<typeof openRegistry>>,
  layers: number | undefined,
): Promise<Ground> {
  const tag = `bench/layers-${layers ?? "many"}`;
  const url = (port: number) => `oci+http://127.0.0.1:${port}/${tag}:live`;
  const tree = new Map(
    [...treeFiles(FILES)].map(([path, content]) => [
      path,
      { kind: "file", content: Buffer.from(content) } as const,
    ]),
  );
  const versions: NonNullable<ReturnType<typeof registry.manifests.get>>[] = [];
  for (let change = 0; change <= (layers === undefined ? CHANGES : FEW_CHANGES); change++) {
    const [path, content] = changed(change);
    if (change > 0) tree.set(path, { kind: "file", content: Buffer.from(content) });
    await pushFiles(tree, url(registry.port), { layers });
    versions.push(registry.manifests.get(`${tag}/live`) as (typeof versions)[0]);
  }
  return {
    server: { host: "127.0.0.1", port: registry.port },
    spec: (port) => oci(url(port)),
    async show(change) {
      registry.manifests.set(`${tag}/live`, versions[change] as (typeof versions)[0]);
    },
  };
}

async function gitGround({ servers }: RunningServers): Promise<Ground> {
  const { git: server, missing } = servers;
  if (server === undefined) throw new Error(missing["git"]);
  const { hostname, port, pathname } = new URL(server.url);
  const commit = await initRepository(join(server.root, "followed.git"));
  return {
    server: { host: hostname, port: Number(port) },
    spec: (at) => git(`git+http://127.0.0.1:${at}${pathname}/followed.git?ref=main`),
    show: (change) => commit(change === 0 ? treeFiles(FILES) : [changed(change)]),
  };
}

async function bucketGround({ servers }: RunningServers): Promise<Ground> {
  const { versity, missing } = servers;
  if (versity === undefined) throw new Error(missing["versity"]);
  const { port, keys } = versity;
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: keys.id, AWS_SECRET_ACCESS_KEY: keys.secret });
  const bucket = "followed";
  const server = sdkServer(port, keys);
  await server.createBucket(bucket);
  return {
    server: { host: "127.0.0.1", port },
    spec: (at) => s3(`s3://${bucket}/?endpoint=http://127.0.0.1:${at}&region=us-east-1`),
    async show(change) {
      for (const [path, content] of change === 0 ? treeFiles(FILES) : [changed(change)])
        await server.put(bucket, path, Buffer.from(content));
    },
  };
}

async function follow(
  ground: Ground,
  count: number,
  changes: number,
  work: string,
): Promise<string[]> {
  const proxy = await createFaultProxy({ target: ground.server });
  // It counts requests only for the sake of faults.
  await proxy.set({ http: { status: 500, probability: 0 } });
  const spec = ground.spec(proxy.port);
  /** Requests, and bytes of answers, with their heads. */
  const sums = { changes: [0, 0], polls: [0, 0] };
  const counted = async (sum: number[], what: () => Promise<void>) => {
    const { requests, received } = proxy.stats;
    await what();
    sum[0] = (sum[0] as number) + proxy.stats.requests - requests;
    sum[1] = (sum[1] as number) + proxy.stats.received - received;
  };
  // Each begins with what one has learned: it is the changes that are counted.
  await ground.show(0);
  const learned = join(work, "learned");
  await mkdir(learned, { recursive: true });
  const first = await openFollower(spec, learned);
  await first.follow();
  await first.close();
  for (let from = 0; from < count; from += GROUP) {
    if (from > 0) await ground.show(0);
    const group: Awaited<ReturnType<typeof openFollower>>[] = [];
    const scratches = join(work, "group");
    for (let i = from; i < Math.min(from + GROUP, count); i++) {
      const scratch = join(scratches, String(i));
      await cp(learned, scratch, { recursive: true });
      group.push(await openFollower(spec, scratch));
    }
    const all = async () => {
      for (const one of group) await one.follow();
    };
    await all();
    for (let change = 1; change <= changes; change++) {
      await ground.show(change);
      await counted(sums.changes, all);
    }
    await counted(sums.polls, all);
    for (const one of group) await one.close();
    await rm(scratches, { recursive: true });
  }
  await proxy.close();
  return [
    ...sums.changes.map((sum) => each(sum, count * changes)),
    ...sums.polls.map((sum) => each(sum, count)),
  ];
}

function each(sum: number, times: number): string {
  return Math.round(sum / times).toLocaleString("en");
}

/** A source that is followed as the engine does it, without a target. */
async function openFollower(spec: SourceSpec, scratch: string) {
  const opened = await openSource(spec, { scratch: async () => scratch });
  const { source }: { source: Source } = opened;
  let token: string | undefined;
  let revision: string | undefined;
  /** Fingerprints, of a source that names no revisions. */
  let seen = new Map<string, string>();

  /** @returns the files that changed; after the first listing all are known */
  async function changes(to: string | undefined): Promise<FileEntry[]> {
    const known = revision !== undefined && to !== undefined;
    const delta = known ? await source.changes?.(revision as string, to, signal) : undefined;
    const found: FileEntry[] = [];
    if (delta !== undefined) {
      for await (const batch of delta.changes)
        for (const change of batch)
          if (change.kind === "put" && change.entry.kind === "file") found.push(change.entry);
      return found;
    }
    const now = new Map<string, string>();
    for await (const batch of (await source.list(signal)).entries)
      for (const entry of batch) {
        if (entry.kind !== "file") continue;
        now.set(entry.path, entry.fingerprint);
        if (seen.size > 0 && seen.get(entry.path) !== entry.fingerprint) found.push(entry);
      }
    seen = now;
    return found;
  }

  return {
    async follow() {
      const probed = await source.probe(signal, token);
      if (probed !== undefined && probed.token === token) return;
      for (const entry of await changes(probed?.revision)) await readAll(source, entry);
      await source.published?.(signal);
      token = probed?.token;
      revision = probed?.revision;
    },
    close: () => opened.close(),
  };
}
