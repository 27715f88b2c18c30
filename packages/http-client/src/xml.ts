/**
 * XML as it comes in, element by element. By saxes: strict, with namespaces, and more than twice as fast as sax (2 MB in 31 ms, sax 80).
 */
import { releaseAfterUse } from "@pannier/core/adapter";

export interface XmlReader {
  /** Elements of other namespaces are called `?`. Default: there are none, and names are as they stand. */
  readonly namespace?: string | undefined;
  /** Elements within each other at most. */
  readonly maxDepth: number;
  /** Told of each element as it begins. @param path names of the open elements, with its own at the end */
  open?(path: readonly string[], attributes: Readonly<Record<string, unknown>>): void;
  /**
   * Told of each element as it ends.
   *
   * @param path as for `open`, with its own name
   * @param text behind the last element within it, or all of it
   */
  close(path: readonly string[], text: string): void;
  /** What to throw where it is not such XML: not UTF-8, not well-formed, with a document type, too deep, or cut. */
  invalid(why: "not UTF-8" | "not XML" | "cut", cause?: unknown): Error;
}

/** @returns bytes of each chunk, when all that was in it is told */
export async function* readXml(
  body: AsyncIterable<Uint8Array>,
  reader: XmlReader,
): AsyncGenerator<number> {
  const { namespace, maxDepth } = reader;
  const { SaxesParser } = await import("saxes");
  const parser = new SaxesParser({ xmlns: namespace !== undefined, position: false });
  const path: string[] = [];
  let text = "";
  let complete = false;
  const notXml = (cause?: unknown): never => {
    throw reader.invalid("not XML", cause);
  };
  parser.on("error", notXml);
  // Entities could be made to grow; no answer needs any of its own.
  parser.on("doctype", () => notXml());
  parser.on("opentag", ({ name, local, uri, attributes }) => {
    path.push(namespace === undefined ? name : uri === namespace ? (local ?? "") : "?");
    if (path.length > maxDepth) notXml();
    text = "";
    reader.open?.(path, attributes);
  });
  parser.on("text", (piece) => (text += piece));
  parser.on("cdata", (piece) => (text += piece));
  parser.on("closetag", () => {
    reader.close(path, text);
    path.pop();
    text = "";
    complete = path.length === 0;
  });

  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (error) {
      throw reader.invalid("not UTF-8", error);
    }
  };
  for await (const chunk of releaseAfterUse(body)) {
    parser.write(decode(chunk));
    yield chunk.byteLength;
  }
  parser.write(decode());
  if (!complete) throw reader.invalid("cut");
  parser.close();
}
