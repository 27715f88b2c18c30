/** The list of tags, page by page. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, readJson } from "@pannier/http-client";
import type { RegistryClient } from "./registry-client.ts";

const MAX_TAGS_PAGE = { size: 8 << 20, values: 1000 };
const MAX_TAGS = 100_000;
const TAGS_PER_PAGE = 1000;

/** All tags of the repository. */
export async function listTags(
  { at, ask, registry }: RegistryClient,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const tags: string[] = [];
  const seen = new Set<string>();
  let url: URL | undefined = at(`tags/list?n=${TAGS_PER_PAGE}`);
  while (url !== undefined) {
    seen.add(url.href);
    const response: HttpResponse = await ask(url, { operation: "probe", signal });
    tags.push(...tagsOf(await readJson(response.body, MAX_TAGS_PAGE, notTags)));
    if (tags.length > MAX_TAGS) {
      throw new SourceError("invalid", `the repository has more than ${MAX_TAGS} tags`);
    }
    url = nextPage(response.headers["link"], url);
    if (url !== undefined && (seen.has(url.href) || url.origin !== registry.origin)) {
      throw new SourceError("invalid", "the registry's list of tags does not end");
    }
  }
  return tags;
}

function notTags(): SourceError {
  return new SourceError("invalid", "the registry's list of tags is not JSON");
}

function tagsOf(json: unknown): string[] {
  if (typeof json !== "object" || json === null) throw notTags();
  const { tags } = json as { readonly tags?: unknown };
  return Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [];
}

/** RFC 8288, as the specification uses it. */
function nextPage(link: string | undefined, from: URL): URL | undefined {
  const [, target] = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(link ?? "") ?? [];
  return target === undefined ? undefined : (URL.parse(target, from) ?? undefined);
}
