/** Text in pieces. */
import { SourceError } from "@pannier/core/adapter";

const MAX_LINE = 64 * 1024;

/**
 * Bytes as text.
 *
 * @param lossy what is not UTF-8 becomes U+FFFD
 * @throws SourceError `invalid` where they are not UTF-8, unless `lossy`
 */
export async function* textOf(
  body: AsyncIterable<Uint8Array>,
  { lossy = false }: { lossy?: boolean } = {},
): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: !lossy });
  const decode = (chunk?: Uint8Array) => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (error) {
      throw new SourceError("invalid", "the answer is not UTF-8 text", { cause: error });
    }
  };
  for await (const chunk of body) yield decode(chunk);
  yield decode();
}

/** Lines without their ends. Only a line feed ends one: names may hold every other separator. */
export async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of textOf(body)) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() as string;
    if (rest.length > MAX_LINE) throw new SourceError("invalid", "a line is too long");
    for (const line of lines) yield line.replace(/\r$/, "");
  }
  if (rest !== "") yield rest;
}
