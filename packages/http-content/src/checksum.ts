/** What a file must hash to: as a value, or in a file beside it as `sha256sum` and its like write them. */
import { createHash, type Hash } from "node:crypto";
import { SourceError, UsageError } from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, plainBody, readText } from "@pannier/http-client";

const HEX_LENGTH = { sha256: 64, sha512: 128, sha1: 40, md5: 32 } as const;
const MAX_CHECKSUM_FILE = 1 << 20;

type Algorithm = keyof typeof HEX_LENGTH;

export interface Checksum {
  readonly algorithm: Algorithm;
  /** Lower case. */
  readonly hex: string;
}

/** The option as given: the checksum itself, or the URL of a file that has it. */
export type ChecksumOption = Checksum | { readonly url: string };

/** @throws UsageError when it looks like a checksum but is none */
export function parseChecksum(text: string): ChecksumOption {
  const [, name, hex = ""] = /^(sha256|sha512|sha1|md5):(.*)$/is.exec(text) ?? [];
  if (name === undefined) {
    if (text !== "") return { url: text };
    throw new UsageError('option "checksum" is empty', "write sha256:HEX, or the URL of a file");
  }
  const algorithm = name.toLowerCase() as Algorithm;
  if (isDigest(hex, algorithm)) return { algorithm, hex: hex.toLowerCase() };
  throw new UsageError(
    `option "checksum" must have ${HEX_LENGTH[algorithm]} hexadecimal digits after "${algorithm}:"`,
  );
}

/**
 * The checksum itself; fetches the file that has it, if need be.
 *
 * @param of the URL that it is for: relative URLs start there, and its last segment is looked up in the file
 */
export async function resolveChecksum(
  option: ChecksumOption | undefined,
  of: URL,
  client: HttpClient,
  signal: AbortSignal,
): Promise<Checksum | undefined> {
  if (option === undefined || !("url" in option)) return option;
  const url = URL.parse(option.url, of);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new UsageError('option "checksum" is neither ALGORITHM:HEX nor a URL');
  }
  const response = await client.request(url, { operation: "checksum", signal });
  const name = decodeURIComponent(of.pathname.slice(of.pathname.lastIndexOf("/") + 1));
  const found = findChecksum(await readChecksumFile(response), name);
  if (found !== undefined) return found;
  throw new SourceError("invalid", `${url.pathname} holds no checksum of ${JSON.stringify(name)}`);
}

/** The text of a file of checksums. @throws SourceError `invalid` where it is larger than 1 MiB, or not UTF-8 */
export async function readChecksumFile(response: HttpResponse): Promise<string> {
  return readText(await plainBody(response), MAX_CHECKSUM_FILE);
}

/** Finds a file's checksum in a file of them: lines of GNU or BSD form, or nothing but one digest. */
export function findChecksum(text: string, name: string): Checksum | undefined {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "" && !line.startsWith("#"));
  for (const line of lines) {
    const parsed = parseChecksumLine(line);
    if (parsed !== undefined && parsed.name.replace(/^.*\//s, "") === name) return parsed;
  }
  const only = lines.length === 1 ? (lines[0] as string).trim() : "";
  const algorithm = algorithmOf(only);
  return algorithm === undefined ? undefined : { algorithm, hex: only.toLowerCase() };
}

/**
 * One line of coreutils' `sha256sum` (two blanks, or a blank and `*`; a leading backslash marks an escaped name) or of
 * BSD's `sha256`. `undefined` where it is neither.
 *
 * @see https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html
 */
export function parseChecksumLine(line: string): (Checksum & { name: string }) | undefined {
  const gnu = /^(\\?)([0-9a-f]+) [ *](.+)$/is.exec(line);
  if (gnu !== null) {
    const [, escaped, hex = "", name = ""] = gnu;
    const algorithm = algorithmOf(hex);
    if (algorithm === undefined) return undefined;
    return { algorithm, hex: hex.toLowerCase(), name: escaped === "" ? name : unescape(name) };
  }
  const bsd = /^(SHA256|SHA512|SHA1|MD5) \((.+)\) = ([0-9a-f]+)$/is.exec(line);
  if (bsd === null) return undefined;
  const [, label = "", name = "", hex = ""] = bsd;
  const algorithm = label.toLowerCase() as Algorithm;
  return isDigest(hex, algorithm) ? { algorithm, hex: hex.toLowerCase(), name } : undefined;
}

function unescape(name: string): string {
  const meaning: Record<string, string> = { n: "\n", r: "\r", "\\": "\\" };
  return name.replaceAll(/\\(.)/g, (all, letter: string) => meaning[letter] ?? all);
}

function algorithmOf(hex: string): Algorithm | undefined {
  return (Object.keys(HEX_LENGTH) as Algorithm[]).find((name) => isDigest(hex, name));
}

function isDigest(hex: string, algorithm: Algorithm): boolean {
  return hex.length === HEX_LENGTH[algorithm] && /^[0-9a-f]+$/i.test(hex);
}

/** Passes bytes on and fails at their end where they hash to something else. */
export async function* verified(
  body: AsyncIterable<Uint8Array>,
  checksum: Checksum | undefined,
): AsyncGenerator<Uint8Array> {
  const hash = checksum === undefined ? undefined : createHash(checksum.algorithm);
  for await (const chunk of body) {
    hash?.update(chunk);
    yield chunk;
  }
  checkDigest(hash, checksum);
}

function checkDigest(hash: Hash | undefined, checksum: Checksum | undefined): void {
  if (hash === undefined || checksum === undefined) return;
  const actual = hash.digest("hex");
  if (actual === checksum.hex) return;
  throw new SourceError(
    "invalid",
    `the ${checksum.algorithm} checksum is ${actual}, not ${checksum.hex}`,
    { hint: "the content changed, or was damaged or replaced on its way" },
  );
}
