/**
 * Names between text and bytes. The control connection carries bytes, held in strings of one character each (`latin1`), so that a
 * name in whatever encoding goes back to the server exactly as it came.
 */
import { isUtf8 } from "node:buffer";
import { quotePath, SourceError } from "@pannier/core/adapter";

/** A name's bytes as text: UTF-8 where they are that, otherwise Latin-1. */
export function textOf(bytes: string): string {
  const buffer = Buffer.from(bytes, "latin1");
  return isUtf8(buffer) ? buffer.toString("utf8") : bytes;
}

/**
 * Refuses what would end a command and begin another.
 *
 * @throws SourceError `invalid`
 */
export function checkArgument(bytes: string): string {
  // oxlint-disable-next-line no-control-regex
  if (!/[\r\n\0]/.test(bytes)) return bytes;
  throw new SourceError("invalid", `${quotePath(textOf(bytes))} holds a line break`, {
    hint: "FTP has no way to ask for such a name: rename it",
  });
}
