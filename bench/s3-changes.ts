/** Large buckets of S3: nothing changed, little changed, and a listing of a million keys; beside rclone. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compete, type Contestant, table } from "./measure.ts";
import { BUCKET, pannierS3, rcloneS3, TUNED, withVersity } from "./s3.ts";
import { pannier, RCLONE_TUNED } from "./tools.ts";
import { onVolumes } from "./volumes.ts";

const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
/** Listed in one go, but with the modification times that rclone itself wrote: a HEAD for each object. */
const EXACT = RCLONE_TUNED;

/** 100,000 objects, of which none changed. */
export async function s3Unchanged(): Promise<string> {
  return withVersity(async (store, put) => {
    await many(100_000, (index) => put(smallKey(index), Buffer.from(`${index}`)));
    return onVolumes(1, (target) => {
      const rclone = (name: string, flags: readonly string[]) =>
        rcloneS3(store, ["sync", `s3:${BUCKET}`, join(target, name), ...flags]);
      const contestants: Contestant[] = [
        { name: "pannier", command: pannierS3(store, join(target, "ours")) },
        {
          name: "rclone by size and modification time",
          command: rclone("exact", EXACT),
        },
        {
          name: "rclone by the server's time",
          command: rclone("tuned", TUNED),
        },
      ];
      return compete(contestants, ROUNDS);
    });
  });
}

/** 100,000 objects, of which 100 changed, to published; what others sync gets visible at once by a copy of hard links. */
export async function s3Changed(): Promise<string> {
  return withVersity(async (store, put) => {
    await many(100_000, (index) => put(smallKey(index), smallContent(index % 100)));
    return onVolumes(1, (target) => {
      const contestant = (name: string, flags: readonly string[]): Contestant => {
        const at = join(target, name.replaceAll(" ", "-"));
        const sync = ["sync", `s3:${BUCKET}`, join(at, "staging"), ...flags];
        const { program, args, env = {} } = rcloneS3(store, sync);
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
          { name: "pannier", command: pannierS3(store, join(target, "ours")) },
          contestant("rclone by size and modification time", EXACT),
          contestant("rclone by the server's time", TUNED),
        ],
        ROUNDS,
        () => many(100, (index) => put(smallKey(index * 997), randomBytes(2000))),
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
          command: rcloneS3({ endpoint }, ["size", `s3:${BUCKET}`, "--fast-list"]),
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
