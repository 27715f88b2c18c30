import { SourceError } from "@pannier/core/adapter";
import { printable } from "./remote/pkt-line.ts";

/** A name, or a path, as text. */
export interface DecodedName {
  /** With U+FFFD for what is not UTF-8. */
  readonly path: string;
  /** Git knows no encoding; what is not UTF-8 has no path that could be published. */
  readonly failure?: SourceError | undefined;
}

/** All of the bytes as text; `undefined` where they are not UTF-8. */
export function decodeAll(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

export function decodeName(bytes: Buffer): DecodedName {
  const path = bytes.toString("utf8");
  if (!path.includes("\ufffd") || decodeAll(bytes) !== undefined) return { path };
  const failure = new SourceError(
    "invalid",
    `the name ${JSON.stringify(printable(path))} is not UTF-8`,
    {
      hint: "rename the file in the repository, leave it out by --exclude, or choose a subdirectory without it by path=",
    },
  );
  return { path, failure };
}
