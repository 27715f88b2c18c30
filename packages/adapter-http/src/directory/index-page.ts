/** Directory indexes as servers generate them: HTML of many kinds, and the JSON of nginx and Caddy. */
import { type HttpResponse, plainBody } from "@pannier/http-client";
import { textOf } from "../lines.ts";
import { htmlItems } from "./html-index.ts";
import { type IndexItem, notAnIndex } from "./item.ts";
import { jsonItems } from "./json-index.ts";

/** Caddy answers with JSON, which tells more, where that is accepted at all; others by preference, and some of their JSON tells less. */
export const INDEX_TYPES = "text/html, application/xhtml+xml, application/json;q=0.9, */*;q=0.5";

/**
 * The children of a directory, in batches.
 *
 * @param asked the URL that was asked for; redirects may have led to another
 * @throws SourceError `unsupported` where the answer is a page, but not an index; `invalid` where it is an incomplete one, or
 *   has links that may be children or not
 */
export async function* readIndex(response: HttpResponse, asked: URL): AsyncGenerator<IndexItem[]> {
  const type = response.headers["content-type"] ?? "";
  if (/^application\/json\b/i.test(type)) {
    // A name that is not UTF-8 may be one that is not wanted.
    yield* jsonItems(textOf(await plainBody(response), { lossy: true }));
  } else if (/^(text\/html|application\/xhtml\+xml)\b/i.test(type)) {
    // What is shown may be cut within a character (nginx): names come from the links.
    const text = textOf(await plainBody(response), { lossy: true });
    yield* htmlItems(text, { asked, answered: response.url });
  } else {
    await response.discard();
    throw notAnIndex(asked, /\bxml\b/i.test(type));
  }
}
