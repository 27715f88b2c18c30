import { createHash } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Digest } from "../source/contract.ts";
import { createContentHash, wrongChecksum } from "./content-hash.ts";

const TEXT = Buffer.from("123456789");

/** Of "123456789": the check values of the catalogue of CRCs (reveng.sourceforge.io), and coreutils' for the rest. */
const CHECKS: readonly Digest[] = [
  { algorithm: "crc32", value: "cbf43926" },
  { algorithm: "crc32c", value: "e3069283" },
  { algorithm: "crc64nvme", value: "ae8b14860a799888" },
  { algorithm: "md5", value: "25f9e794323b453885f5181f1b624d0b" },
  { algorithm: "sha1", value: "f7c3bc1d808e04732adf679965ccc34ca7ae3441" },
  { algorithm: "sha256", value: createHash("sha256").update(TEXT).digest("hex") },
];

function hashOf(content: Uint8Array, digest: Digest | undefined, ...cuts: readonly number[]) {
  const hash = createContentHash(digest);
  let at = 0;
  for (const cut of [...cuts, content.length]) hash.update(content.subarray(at, (at = cut)));
  return hash.finish();
}

describe.each(CHECKS)("$algorithm", (digest) => {
  test("is that of the published check value", () => {
    expect(hashOf(TEXT, digest).wrong).toBeUndefined();
    expect(hashOf(TEXT, { ...digest, value: digest.value.toUpperCase() }).wrong).toBeUndefined();
  });

  test("tells a wrong byte, and says which digest was found", () => {
    const content = Buffer.from("123456780");
    const { wrong } = hashOf(content, digest);
    expect(wrong).toMatchObject({ expected: digest });
    expect(wrong?.found).toHaveLength(digest.value.length);
  });

  test("does not depend on how the content is cut", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (content, cut) => {
        const found = hashOf(content, { ...digest, value: "" }).wrong?.found ?? "";
        expect(hashOf(content, { ...digest, value: found }, cut).wrong).toBeUndefined();
      }),
    );
  });

  test("of parts is the digest of their digests", () => {
    const whole = createContentHash({ ...digest, value: "" });
    for (const part of ["1234", "5678", "9"]) {
      const found = hashOf(Buffer.from(part), { ...digest, value: "" }).wrong?.found ?? "";
      whole.update(Buffer.from(found, "hex"));
    }
    const value = whole.finish().wrong?.found ?? "";
    for (const cuts of [[], [3], [4], [4, 8], [1, 2, 3, 7]]) {
      expect(hashOf(TEXT, { ...digest, value, partSize: 4 }, ...cuts).wrong).toBeUndefined();
    }
    expect(hashOf(TEXT, { ...digest, value, partSize: 5 }).wrong).toBeDefined();
  });
});

/** The ETag that S3 gives to every empty object of one part. */
test("nothing, uploaded in parts, has one part of nothing", () => {
  const value = "59adb24ef3cdbe0297f05b395827453f";
  const digest = { algorithm: "md5", value, partSize: 1 } as const;
  expect(hashOf(new Uint8Array(0), digest).wrong).toBeUndefined();
  expect(createContentHash(digest).finish().wrong).toBeUndefined();
  expect(hashOf(TEXT, digest).wrong).toBeDefined();
});

test("what an answer vouches for counts as long as nothing was hashed", () => {
  const [crc, , , md5] = CHECKS as [Digest, Digest, Digest, Digest];
  const hash = createContentHash(crc);
  hash.expect({ ...md5, value: "0" });
  hash.update(TEXT);
  hash.expect({ ...md5, value: "1" });
  const content = hash.finish();
  expect(content.wrong?.expected.value).toBe("0");
  const entry = { kind: "file", path: "a/b", fingerprint: "x" } as const;
  expect(wrongChecksum(entry, content)).toMatchObject({
    code: "invalid",
    message: `"a/b" has the MD5 ${md5.value}, but its source says 0`,
  });
});
