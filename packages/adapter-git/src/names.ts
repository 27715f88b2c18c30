import { SourceError } from "@pannier/core/adapter";
import { printable } from "./remote/pkt-line.ts";

/** Names as text. Git knows no encoding; what is not UTF-8 has no path that could be published. */
export function decodeNames(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const lossy = Buffer.from(bytes).toString("utf8").split("\0");
    const name = lossy.find((line) => line.includes("\ufffd"))?.replace(/^.*\t/s, "") ?? "";
    throw new SourceError("invalid", `the name ${JSON.stringify(printable(name))} is not UTF-8`, {
      hint: "rename the file in the repository, or choose a subdirectory without it by path=",
      cause: error,
    });
  }
}
