/** S3 on Versity's gateway, whose buckets are on tmpfs, beside rclone by default and tuned. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sdkServer } from "../packages/adapter-s3/test/sdk-client.ts";
import { findProgram } from "../test/real/servers/process.ts";
import { startServers } from "../test/real/servers/start.ts";
import { type Command, compete, type Contestant, type Result, table } from "./measure.ts";
import { pannier } from "./tools.ts";

const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
const BUCKET = "bench";

/** One listing instead of one a directory, as many transfers as helped, and no HEAD for a time that nobody asked for. */
const TUNED =
  "--fast-list --transfers=64 --checkers=64 --use-server-modtime --s3-no-head --s3-no-check-bucket --buffer-size=0".split(
    " ",
  );
/** Listed in one go, but with the modification times that rclone itself wrote: a HEAD for each object. */
const EXACT = ["--fast-list", "--transfers=64", "--checkers=64"];

interface Ground {
  /** For the option endpoint. */
  readonly endpoint: string;
  readonly env: Readonly<Record<string, string>>;
  readonly put: (key: string, content: Uint8Array) => void | Promise<void>;
  readonly targets: readonly (readonly [where: string, directory: string])[];
}

/** 10,000 objects of 1 to 17 KiB, from nothing to published. */
export async function s3First(): Promise<string> {
  const count = 10_000;
  return withServer(async (ground) => {
    await many(count, (index) => ground.put(smallKey(index), smallContent(index)));
    return tablesOf(ground, (target) =>
      fromNothing(ground, target, async (published) => {
        const files = await readdir(published, { recursive: true, withFileTypes: true });
        const found = files.filter((file) => file.isFile()).length;
        if (found !== count) throw new Error(`${found} files instead of ${count}`);
      }),
    );
  });
}

/** One object of 2 GiB less one byte. */
export async function s3Large(): Promise<string> {
  return withServer(async (ground) => {
    // By one PUT, so that its MD5 is known; Node hashes no more than this in one piece.
    const content = Buffer.concat(Array.from({ length: 32 }, () => randomBytes(64 << 20)));
    await ground.put("large.bin", content.subarray(1));
    return tablesOf(ground, (target) => fromNothing(ground, target, async () => {}));
  });
}

/** 100,000 objects, of which none changed. */
export async function s3Unchanged(): Promise<string> {
  return withServer(async (ground) => {
    await many(100_000, (index) => ground.put(smallKey(index), Buffer.from(`${index}`)));
    return tablesOf(ground, async (target) => {
      const contestants: Contestant[] = [
        { name: "pannier", command: ours(ground, join(target, "ours")) },
        {
          name: "rclone by size and modification time",
          command: theirs(ground, join(target, "exact"), EXACT),
        },
        {
          name: "rclone by the server's time",
          command: theirs(ground, join(target, "tuned"), TUNED),
        },
      ];
      return compete(contestants, ROUNDS);
    });
  });
}

/** 100,000 objects, of which 100 changed, to published; what others sync gets visible at once by a copy of hard links. */
export async function s3Changed(): Promise<string> {
  return withServer(async (ground) => {
    await many(100_000, (index) => ground.put(smallKey(index), smallContent(index % 100)));
    return tablesOf(ground, (target) => {
      const contestant = (name: string, flags: readonly string[]): Contestant => {
        const at = join(target, name.replaceAll(" ", "-"));
        const { program, args, env = {} } = theirs(ground, join(at, "staging"), flags);
        const publish =
          'at=$1; shift; mkdir -p "$at"; "$@"; new=$(date +%s%N); cp -al "$at/staging" "$at/$new"; ' +
          'old=$(readlink "$at/current" || true); ln -s "$new" "$at/next"; mv -T "$at/next" "$at/current"; ' +
          'if [ -n "$old" ]; then rm -r "$at/$old"; fi';
        return {
          name: `${name}, cp -al, mv -T`,
          command: { program: "bash", args: ["-ec", publish, "bash", at, program, ...args], env },
        };
      };
      return compete(
        [
          { name: "pannier", command: ours(ground, join(target, "ours")) },
          contestant("rclone by size and modification time", EXACT),
          contestant("rclone by the server's time", TUNED),
        ],
        ROUNDS,
        () => many(100, (index) => ground.put(smallKey(index * 997), randomBytes(2000))),
        // Until --keep trees are there, each change also builds one.
        3,
      );
    });
  });
}

/** 1,000,000 keys listed and planned, where a page takes 50 ms. */
export async function s3Million(): Promise<string> {
  const keys = 1_000_000;
  const server = createServer((request, response) => {
    const query = new URL(request.url ?? "", "http://server").searchParams;
    setTimeout(() => {
      response.writeHead(200, { "content-type": "application/xml" });
      response.end(pageOf(query, keys));
    }, 50);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const target = await mkdtemp(join(tmpdir(), "pannier-bench-s3-"));
  try {
    const source = `s3://${BUCKET}/?anonymous=true&endpoint=${endpoint}`;
    const found = await compete(
      [
        { name: "pannier plan", command: pannier("plan", source, target, "--json") },
        {
          name: "rclone size --fast-list, page by page",
          command: rclone(endpoint, ["size", `s3:${BUCKET}`, "--fast-list"]),
        },
      ],
      Math.min(ROUNDS, 3),
      undefined,
      0,
    );
    return table(found);
  } finally {
    server.close();
    await rm(target, { recursive: true, force: true });
  }
}

async function withServer(work: (ground: Ground) => Promise<string>): Promise<string> {
  // The servers keep their data below the temporary directory: a disk would be measured beside the network.
  const disk = await mkdtemp(join(tmpdir(), "pannier-bench-s3-"));
  const memory = await mkdtemp("/dev/shm/pannier-bench-s3-");
  process.env["TMPDIR"] = memory;
  const running = await startServers(["versity"]);
  delete process.env["TMPDIR"];
  try {
    const { versity, missing } = running.servers;
    if (versity === undefined) throw new Error(missing["versity"]);
    const { port, keys } = versity;
    const server = sdkServer(port, keys);
    await server.createBucket(BUCKET);
    return await work({
      endpoint: `http://127.0.0.1:${port}`,
      env: {
        AWS_ACCESS_KEY_ID: keys.id,
        AWS_SECRET_ACCESS_KEY: keys.secret,
        AWS_REGION: "us-east-1",
        AWS_EC2_METADATA_DISABLED: "true",
      },
      put: (key, content) => server.put(BUCKET, key, content),
      targets: [
        ["tmpfs", memory],
        ["disk", disk],
      ],
    });
  } finally {
    await running.stop();
    await rm(memory, { recursive: true, force: true });
    await rm(disk, { recursive: true, force: true });
  }
}

/** A table for each kind of volume; ratios are to the fastest of the others, which comes last. */
async function tablesOf(
  { targets }: Ground,
  measured: (target: string) => Promise<Result[]>,
): Promise<string> {
  const tables: string[] = [];
  for (const [where, directory] of targets) {
    const [first, ...others] = await measured(directory);
    const sorted = others.toSorted((a, b) => fastest(b) - fastest(a));
    tables.push(`Target on ${where}:\n\n${table([first as Result, ...sorted])}`);
  }
  return tables.join("\n\n");
}

const fastest = ({ costs }: Result) => Math.min(...costs.map(({ wall }) => wall));

function fromNothing(
  ground: Ground,
  directory: string,
  check: (published: string) => Promise<void>,
): Promise<Result[]> {
  const target = join(directory, "target");
  const contestant = (name: string, command: Command, published: string): Contestant => ({
    name,
    command,
    prepare: () => rm(target, { recursive: true, force: true }),
    check: () => check(join(target, published)),
  });
  return compete(
    [
      contestant("pannier", ours(ground, target), "current"),
      contestant("rclone", theirs(ground, target, []), ""),
      contestant("rclone tuned", theirs(ground, target, TUNED), ""),
    ],
    ROUNDS,
  );
}

function ours({ endpoint, env }: Ground, target: string): Command {
  return { ...pannier("sync", `s3://${BUCKET}/?endpoint=${endpoint}`, target), env };
}

function theirs({ endpoint, env }: Ground, target: string, flags: readonly string[]): Command {
  const {
    program,
    args,
    env: own = {},
  } = rclone(endpoint, ["sync", `s3:${BUCKET}`, target, ...flags]);
  return { program, args, env: { ...own, ...env, RCLONE_CONFIG_S3_ENV_AUTH: "true" } };
}

function rclone(endpoint: string, args: readonly string[]): Command {
  const program = findProgram("rclone");
  if (program === undefined) throw new Error("rclone has to be in the path or in .tools/bin");
  const env = {
    RCLONE_CONFIG: "/dev/null",
    RCLONE_CONFIG_S3_TYPE: "s3",
    RCLONE_CONFIG_S3_PROVIDER: "Other",
    RCLONE_CONFIG_S3_LIST_VERSION: "2",
    RCLONE_CONFIG_S3_ENDPOINT: endpoint,
  };
  return { program, args, env };
}

async function many(count: number, put: (index: number) => void | Promise<void>): Promise<void> {
  const left = Array.from({ length: count }, (_, index) => index).values();
  const worker = async () => {
    for (const index of left) await put(index);
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}

function smallKey(index: number): string {
  return `dir-${String(index % 100).padStart(2, "0")}/file-${index}.bin`;
}

function smallContent(index: number): Uint8Array {
  return randomBytes(1024 + ((index * 7919) % 16_384));
}

/** A page of `dir-000/file-0000.bin` to `dir-999/file-0999.bin`, made as it is asked for. */
function pageOf(query: URLSearchParams, keys: number): string {
  const after = query.get("continuation-token") ?? query.get("start-after") ?? "";
  let start = 0;
  for (let end = keys; start < end;) {
    const middle = (start + end) >> 1;
    if (nameOf(middle) <= after) start = middle + 1;
    else end = middle;
  }
  const end = Math.min(keys, start + 1000);
  const contents = Array.from({ length: end - start }, (_, i) => {
    const etag = (start + i).toString(16).padStart(32, "0");
    return `<Contents><Key>${nameOf(start + i)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;${etag}&quot;</ETag><Size>1000</Size><StorageClass>STANDARD</StorageClass></Contents>`;
  });
  const more =
    end < keys
      ? `<IsTruncated>true</IsTruncated><NextContinuationToken>${nameOf(end - 1)}</NextContinuationToken>`
      : "<IsTruncated>false</IsTruncated>";
  return `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${BUCKET}</Name>${more}${contents.join("")}</ListBucketResult>`;
}

function nameOf(index: number): string {
  const directory = String(Math.floor(index / 1000)).padStart(3, "0");
  return `dir-${directory}/file-${String(index % 1000).padStart(4, "0")}.bin`;
}
