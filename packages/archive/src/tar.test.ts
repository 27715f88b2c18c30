import { setImmediate } from "node:timers/promises";
import { SourceError } from "@pannier/core/adapter";
import { pack } from "tar-stream";
import { expect, test } from "vitest";
import { readTar } from "./tar.ts";

test("tells why a download ended in the middle of a file, also to who reads it only later", async () => {
  const archive = pack();
  archive.entry({ name: "file", size: 100_000 }, Buffer.alloc(100_000));
  const { value: start } = await archive[Symbol.asyncIterator]().next();
  async function* cut() {
    yield start as Uint8Array;
    throw new SourceError("unavailable", "the connection was cut");
  }
  const reading = (async () => {
    for await (const member of readTar(cut())) {
      for (let turn = 0; turn < 10; turn++) await setImmediate();
      if (member.kind === "file") for await (const _ of member.content);
    }
  })();
  await expect(reading).rejects.toMatchObject({ code: "unavailable" });
});
