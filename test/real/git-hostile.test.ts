/** Git servers that mean harm: each ends soon, with the right exit code, and in 300 MiB of memory, git's own processes included. */
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout } from "node:timers/promises";
import { createDeflate, deflateSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  answerFetch,
  commandOf,
  commitOf,
  entryHead,
  objectId,
  packet,
  packHead,
  type PackObject,
  packOf,
} from "../support/git-pack.ts";
import { gitVersion } from "../support/git-server.ts";
import { makeMemoryGroup } from "../support/memory-group.ts";
import { runPannier } from "../support/pannier.ts";

const MIB = 1024 * 1024;
const MEMORY = 300 * MIB;
const RESULT = "application/x-git-upload-pack-result";
const OID = "1".repeat(40);

type Answer = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

const group = makeMemoryGroup("pannier-hostile", MEMORY);
await group?.remove();
const skipReason =
  gitVersion === undefined ? "needs the git program" : "needs to make a cgroup with a limit";

const id = ({ type, data }: PackObject): string => objectId(type, data);

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Writes for ever, as fast as it is read. */
async function pour(response: ServerResponse, next: () => Uint8Array): Promise<void> {
  const pieces = function* () {
    for (;;) yield next();
  };
  await pipeline(Readable.from(pieces()), response).catch(() => {});
}

/** A pack of one blob in a tree, and of whatever comes before; the blob's bytes are given as they go into the pack. */
async function* packOfBlob(
  blob: string,
  size: number,
  deflated: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const { tree, commit } = holding(blob);
  const digest = createHash("sha1");
  const pass = (bytes: Uint8Array) => {
    digest.update(bytes);
    return bytes;
  };
  yield pass(packHead(3));
  for (const object of [tree, commit]) {
    yield pass(entryHead(object.type, object.data.length));
    yield pass(deflateSync(object.data));
  }
  yield pass(entryHead("blob", size));
  for await (const bytes of deflated) yield pass(bytes);
  yield digest.digest();
}

function holding(blob: string): { readonly tree: PackObject; readonly commit: PackObject } {
  const raw = Buffer.concat([Buffer.from("100644 file\0"), Buffer.from(blob, "hex")]);
  const tree: PackObject = { type: "tree", data: raw };
  return { tree, commit: commitOf(id(tree)) };
}

/** A number as deltas have it: seven bits at a time, the lowest first. */
function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
}

/** A delta to an object of the same size: the start of its base, over and over, and then a tail. */
function tailed(size: number, tail: Uint8Array): Buffer {
  const parts = [...varint(size), ...varint(size)];
  for (let left = size - tail.length; left > 0;) {
    const part = Math.min(left, 0xffffff);
    parts.push(0x80 | 0x70, part & 255, (part >> 8) & 255, part >> 16);
    left -= part;
  }
  return Buffer.from([...parts, tail.length, ...tail]);
}

function fourBytes(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

interface Served {
  readonly pack: Buffer;
  readonly commit: string;
}

/** A chain of deltas, each against the one before. */
function chain(length: number, size: number): Served {
  const content = Buffer.alloc(size);
  const base: PackObject = { type: "blob", data: Buffer.from(content) };
  const objects: PackObject[] = [base];
  let oid = id(base);
  for (let i = 1; i <= length; i++) {
    const tail = fourBytes(i);
    objects.push({ type: "delta", base: oid, data: tailed(size, tail) });
    tail.copy(content, size - tail.length);
    oid = objectId("blob", content);
  }
  const { tree, commit } = holding(oid);
  return { pack: packOf([...objects, tree, commit]), commit: id(commit) };
}

/** Many deltas against one base, each of which makes an object of its size. */
function fan(width: number, size: number): Served {
  const base: PackObject = { type: "blob", data: Buffer.alloc(size) };
  const oid = id(base);
  const deltas = Array.from({ length: width }, (_, i): PackObject => ({
    type: "delta",
    base: oid,
    data: tailed(size, fourBytes(i + 1)),
  }));
  const { tree, commit } = holding(oid);
  return { pack: packOf([base, ...deltas, tree, commit]), commit: id(commit) };
}

const refs = (response: ServerResponse) => response.setHeader("content-type", RESULT);

/** What a server answers to the listing of refs. */
function listing(answer: (response: ServerResponse) => Promise<void> | void): Answer {
  return (_, response) => answer(refs(response));
}

/** What a server answers to the fetch of the one commit that it lists. */
function fetching(
  commit: string,
  pack: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Answer {
  return (request, response) => answerFetch(request, response, commit, pack());
}

function zeros(size: number): { readonly commit: string; pack(): AsyncIterable<Uint8Array> } {
  const digest = createHash("sha1").update(`blob ${size}\0`);
  const piece = Buffer.alloc(MIB);
  for (let left = size; left > 0; left -= piece.length) digest.update(piece);
  const blob = digest.digest("hex");
  return {
    commit: id(holding(blob).commit),
    pack() {
      const deflate = createDeflate();
      void (async () => {
        for (let left = size; left > 0; left -= piece.length)
          if (!deflate.write(piece)) await once(deflate, "drain");
        deflate.end();
      })().catch(() => {});
      return packOfBlob(blob, size, deflate);
    },
  };
}

interface Case {
  readonly name: string;
  readonly answer: Answer;
  readonly code: number;
  readonly says: RegExp;
  readonly args?: readonly string[];
  readonly engines?: readonly ("cli" | "js")[];
  /** Seconds. */
  readonly within?: number;
}

const large = zeros(2048 * MIB);
const welcome = zeros(Number(process.env["PANNIER_TEST_GIT_ZEROS"] ?? 256) * MIB);
const deep = chain(2000, 10_000);
const wide = fan(40_000, 90 * MIB);
const tooLarge = fan(1, 150 * MIB);

const CASES: readonly Case[] = [
  {
    name: "noise in place of packets",
    answer: listing((response) => pour(response, () => randomBytes(65_536))),
    code: 6,
    says: /not git's protocol/,
  },
  {
    name: "300,000 refs",
    answer: listing(async (response) => {
      for (let i = 0; i < 300_000; i += 1000) {
        const some = range(1000).map((j) => packet(`${OID} refs/heads/b${i + j}\n`));
        if (!response.write(Buffer.concat(some))) await once(response, "drain");
      }
      response.end("0000");
    }),
    code: 4,
    says: /HEAD points at a branch that does not exist/,
  },
  {
    name: "refs without end",
    answer: listing((response) => {
      const some = range(500).map((i) => packet(`${OID} refs/heads/b${i}\n`));
      return pour(response, () => Buffer.concat(some));
    }),
    code: 6,
    says: /more than 1000000 lines/,
  },
  {
    name: "a list of refs, a byte a second",
    answer: listing(async (response) => {
      // A packet that is announced, and comes in pieces.
      response.write("ffef");
      while (!response.destroyed) {
        response.write("x");
        await setTimeout(1000);
      }
    }),
    code: 5,
    says: /too slow|bytes in a minute|cut short|not git's protocol/,
    within: 100,
    engines: ["cli"],
  },
  {
    name: "progress without end",
    answer: async (request, response) => {
      if ((await commandOf(request)) === "ls-refs") {
        refs(response).end(`${packet(`${OID} HEAD\n`).toString()}0000`);
        return;
      }
      refs(response).write(packet("packfile\n"));
      await pour(response, () => packet(`\x02${"counting ".repeat(100)}`));
    },
    code: 5,
    says: /progress messages without end/,
    within: 100,
    engines: ["cli"],
  },
  {
    name: "shallow commits without end",
    answer: async (request, response) => {
      if ((await commandOf(request)) === "ls-refs") {
        refs(response).end(`${packet(`${OID} HEAD\n`).toString()}0000`);
        return;
      }
      refs(response).write(packet("shallow-info\n"));
      const some = Buffer.concat(Array(500).fill(packet(`shallow ${OID}\n`)));
      await pour(response, () => some);
    },
    code: 6,
    says: /lines/,
  },
  {
    name: "a pack without end",
    answer: fetching(OID, async function* () {
      yield packHead(1);
      yield entryHead("blob", 1e15);
      const deflate = createDeflate({ level: 0 });
      deflate.on("error", () => {});
      const fill = async () => {
        for (;;) if (!deflate.write(randomBytes(MIB))) await once(deflate, "drain");
      };
      void fill().catch(() => {});
      try {
        yield* deflate as AsyncIterable<Uint8Array>;
      } finally {
        deflate.destroy();
      }
    }),
    code: 7,
    says: /--max-bytes/,
    // Less than what engine=js takes of any pack, so that both engines meet this limit.
    args: ["--max-bytes", "30M"],
  },
  {
    name: "a file of zeros that is larger than the limit",
    answer: fetching(large.commit, () => large.pack()),
    code: 6,
    says: /larger|more than|limit/,
    args: ["--max-file-bytes", "1G"],
  },
  {
    name: "a file of zeros that is welcome",
    answer: fetching(welcome.commit, () => welcome.pack()),
    code: 0,
    says: /^/,
    engines: ["cli"],
  },
  {
    name: "a deep chain of deltas",
    answer: fetching(deep.commit, () => [deep.pack]),
    code: 0,
    says: /^/,
    engines: ["cli"],
  },
  {
    name: "a deep chain of deltas",
    answer: fetching(deep.commit, () => [deep.pack]),
    code: 6,
    says: /more than 200 times/,
    engines: ["js"],
  },
  {
    name: "deltas that make terabytes",
    answer: fetching(wide.commit, () => [wide.pack]),
    code: 6,
    says: /takes too long to unpack|more than 200 times/,
    within: 100,
    engines: ["cli"],
  },
  {
    name: "a delta that makes more than fits into memory",
    answer: fetching(tooLarge.commit, () => [tooLarge.pack]),
    code: 6,
    says: /too large to be held in memory|more than 200 times/,
  },
];

describe.skipIf(gitVersion === undefined || group === undefined)(
  "hostile git servers",
  { meta: { skipReason } },
  () => {
    for (const {
      name,
      answer,
      code,
      says,
      args = [],
      within = 60,
      engines = ["cli", "js"],
    } of CASES)
      // Those that take a minute take it together.
      test.each(engines)(
        `${name}: engine=%s`,
        { timeout: 200_000, concurrent: within > 60 },
        async (engine) => {
          const limit = makeMemoryGroup("pannier-hostile", MEMORY);
          if (limit === undefined) throw new Error("the cgroup cannot be made again");
          const server = createServer((request, response) => {
            Promise.resolve(answer(request, response)).catch(() => response.destroy());
          });
          await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
          const { port } = server.address() as AddressInfo;
          const work = await mkdtemp(join(tmpdir(), "pannier-git-hostile-"));
          const url = `git+http://127.0.0.1:${port}/x.git?engine=${engine}`;
          const started = performance.now();
          const running = runPannier(["sync", url, join(work, "target"), ...args], {
            by: limit.by,
          });
          // Not by onTestFinished: some of these run side by side.
          const outcome = await running.finally(async () => {
            server.closeAllConnections();
            server.close();
            await rm(work, { recursive: true, force: true });
          });
          const seconds = (performance.now() - started) / 1000;
          console.log(
            `${name}, ${engine}: exit ${outcome.code}, ${seconds.toFixed(1)} s, at most ${Math.round(limit.peak() / MIB)} MiB`,
          );
          const kills = limit.kills();
          await limit.remove();
          expect({ ...outcome, kills }).toMatchObject({
            code,
            stderr: expect.stringMatching(says),
            kills: 0,
          });
          expect(seconds).toBeLessThan(within);
        },
      );
  },
);
