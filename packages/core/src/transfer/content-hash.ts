/** Content hashed while it passes: by SHA-256 always, and by whatever its source vouches with. */
import { createHash } from "node:crypto";
import type { Digest, DigestAlgorithm, FileEntry } from "../source/contract.ts";
import { quotePath } from "../source/path.ts";
import { SourceError } from "../source/errors.ts";
import { crc32c, crc64nvme } from "./crc.ts";

export interface ContentHash {
  update(bytes: Uint8Array): void;
  /** Takes in what the source vouches for. Only before the first byte: afterwards there is nothing left to hash, and it is passed over. */
  expect(digest: Digest | undefined): void;
  finish(): ContentDigest;
}

export interface ContentDigest {
  /** In hex. */
  readonly sha256: string;
  /** The digest that the content does not have though the source says so, and the one it has. */
  readonly wrong?: { readonly expected: Digest; readonly found: string } | undefined;
}

export function createContentHash(vouched: Digest | undefined): ContentHash {
  const sha256 = createHash("sha256");
  const expected: { digest: Digest; hasher: Hasher | undefined }[] = [];
  let begun = false;
  const hash: ContentHash = {
    update(bytes) {
      begun = true;
      sha256.update(bytes);
      for (const { hasher } of expected) hasher?.update(bytes);
    },
    expect(digest) {
      if (digest === undefined || begun) return;
      const plain = digest.algorithm === "sha256" && digest.partSize === undefined;
      expected.push({ digest, hasher: plain ? undefined : hasherOf(digest) });
    },
    finish() {
      const found = { sha256: sha256.digest("hex") };
      for (const { digest, hasher } of expected) {
        const value = hasher?.digest().toString("hex") ?? found.sha256;
        if (value !== digest.value.toLowerCase()) {
          return { ...found, wrong: { expected: digest, found: value } };
        }
      }
      return found;
    },
  };
  hash.expect(vouched);
  return hash;
}

export function wrongChecksum(entry: FileEntry, { wrong, sha256 }: ContentDigest): SourceError {
  const { algorithm, value } = wrong?.expected ?? { algorithm: "sha256", value: "" };
  return new SourceError(
    "invalid",
    `${quotePath(entry.path)} has the ${NAMES[algorithm]} ${wrong?.found ?? sha256}, but its source says ${value}`,
    { hint: "the content was damaged, or replaced without its checksum" },
  );
}

const NAMES: Readonly<Record<DigestAlgorithm, string>> = {
  sha256: "SHA-256",
  sha1: "SHA-1",
  md5: "MD5",
  crc32: "CRC-32",
  crc32c: "CRC-32C",
  crc64nvme: "CRC-64/NVME",
};

interface Hasher {
  update(bytes: Uint8Array): unknown;
  digest(): Buffer;
}

export function hasherOf({ algorithm, partSize }: Pick<Digest, "algorithm" | "partSize">): Hasher {
  return partSize === undefined ? whole(algorithm) : composite(algorithm, partSize);
}

function whole(algorithm: DigestAlgorithm): Hasher {
  switch (algorithm) {
    case "crc32":
      // Node takes long to load this module, and few sources vouch with it.
      return crcHasher(process.getBuiltinModule("node:zlib").crc32);
    case "crc32c":
      return crcHasher(crc32c);
    case "crc64nvme": {
      const crc = { upper: 0, lower: 0 };
      return {
        update: (bytes) => crc64nvme(bytes, crc),
        digest() {
          const digest = Buffer.alloc(8);
          digest.writeUInt32BE(crc.upper, 0);
          digest.writeUInt32BE(crc.lower, 4);
          return digest;
        },
      };
    }
    default:
      return createHash(algorithm);
  }
}

function crcHasher(next: (bytes: Uint8Array, crc: number) => number): Hasher {
  let crc = 0;
  return {
    update: (bytes) => (crc = next(bytes, crc)),
    digest() {
      const digest = Buffer.alloc(4);
      digest.writeUInt32BE(crc);
      return digest;
    },
  };
}

/** The digest of the parts' digests, as a multipart upload to S3 leaves it. */
function composite(algorithm: DigestAlgorithm, partSize: number): Hasher {
  const all = whole(algorithm);
  let part = whole(algorithm);
  let room = partSize;
  let isEmpty = true;
  return {
    update(bytes) {
      isEmpty &&= bytes.length === 0;
      for (let at = 0; at < bytes.length;) {
        const slice = bytes.subarray(at, at + room);
        part.update(slice);
        at += slice.length;
        room -= slice.length;
        if (room > 0) continue;
        all.update(part.digest());
        part = whole(algorithm);
        room = partSize;
      }
    },
    digest() {
      // An upload of nothing has one part, of nothing.
      if (room < partSize || isEmpty) all.update(part.digest());
      return all.digest();
    },
  };
}
