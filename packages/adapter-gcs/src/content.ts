/** How the content of one generation is asked for. */
import type { HttpResponse } from "@pannier/http-client";
import { queryOf } from "@pannier/object-store/lane";

/**
 * Without it, what is stored as gzip comes unpacked: of another size and digest, and never in parts.
 * https://cloud.google.com/storage/docs/transcoding
 */
export const STORED: Readonly<Record<string, string>> = { "accept-encoding": "gzip" };

/** @param objects URL of the bucket's objects */
export function contentUrl(
  objects: string,
  key: string,
  generation: string,
  userProject: string | undefined,
): string {
  return `${objects}/${encodeURIComponent(key)}?${contentQuery(generation, userProject)}`;
}

export function contentQuery(generation: string, userProject: string | undefined): string {
  return queryOf({ alt: "media", generation, userProject });
}

/** `undefined` where an answer is of that generation. */
export function whyOtherGeneration(
  { headers }: Pick<HttpResponse, "headers">,
  generation: string,
): string | undefined {
  const served = headers["x-goog-generation"] ?? generation;
  return served === generation ? undefined : "the server sent another generation";
}
