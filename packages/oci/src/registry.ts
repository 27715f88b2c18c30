/** A registry over HTTP (the distribution specification). */
import { SourceError } from "@pannier/core/adapter";
import {
  createHttpClient,
  type HttpRequest,
  type HttpResponse,
  readText,
  statusError,
} from "@pannier/http-client";
import { ACCEPT, MEDIA, parseManifest } from "./manifest.ts";
import { DIGEST } from "./reference.ts";
import { makeSignIn } from "./sign-in.ts";
import { checkedBlob, type ImageStore, type StoreInit, takeManifest } from "./store.ts";

const MAX_TAGS_PAGE = 8 << 20;
const MAX_TAGS = 100_000;
const TAGS_PER_PAGE = 1000;

/** Opens a repository of a registry; nothing is asked yet. */
export function openRegistry(init: StoreInit): ImageStore {
  const { location, reference } = init;
  const isHub = location.host === "docker.io" || location.host === "index.docker.io";
  const repository =
    isHub && !reference.repository.includes("/")
      ? `library/${reference.repository}`
      : reference.repository;
  const port = location.port === undefined ? "" : `:${location.port}`;
  const scheme = location.scheme === "oci+http" ? "http" : "https";
  const registry = new URL(`${scheme}://${isHub ? "registry-1.docker.io" : location.host}${port}`);
  const client = createHttpClient({
    credentials: init.credentials,
    env: init.env,
    idleTimeout: init.idleTimeout,
    connections: 16,
    onRequest: init.onRequest,
  });
  const signIn = makeSignIn({
    client,
    registry,
    host: location.host + port,
    repository,
    actions: init.actions,
    location,
    credentials: init.credentials,
    env: init.env,
  });
  const at = (path: string) => new URL(`/v2/${repository}/${path}`, registry);

  /** Asks once, and once more where the registry wants us to sign in. Nothing to sign in with is sent to another host. */
  async function ask(url: URL, request: HttpRequest & { signal: AbortSignal }) {
    const { expect } = request;
    const isOwn = url.origin === registry.origin;
    for (let refused = false; ; refused = true) {
      const signed: Readonly<Record<string, string>> = isOwn ? await signIn.headers() : {};
      const response = await client.request(url, {
        ...request,
        headers: { ...request.headers, ...signed },
        expect: "any",
      });
      const { status } = response;
      if (Array.isArray(expect) ? expect.includes(status) : status >= 200 && status < 300)
        return response;
      await response.discard();
      const asks = status === 401 && !refused && response.url.origin === registry.origin;
      if (asks && (await signIn.answer(response, request.signal))) continue;
      const what = request.subject === undefined ? "" : `${request.subject}: `;
      throw statusError(status, response.headers, what, "authorization" in signed || refused);
    }
  }

  async function resolve(tag: string, signal: AbortSignal): Promise<string> {
    const head = await ask(at(`manifests/${tag}`), {
      method: "HEAD",
      headers: { accept: ACCEPT },
      operation: "probe",
      signal,
      expect: [200, 404, 405],
    });
    await head.discard();
    const digest = head.headers["docker-content-digest"];
    if (head.status === 404) throw noSuchTag(tag);
    if (head.status === 200 && digest !== undefined && DIGEST.test(digest)) return digest;
    // Some do not tell the digest, or know no HEAD.
    return (await manifest(tag, "probe", signal)).digest;
  }

  async function manifest(name: string, operation: string, signal: AbortSignal) {
    const response = await ask(at(`manifests/${name}`), {
      headers: { accept: ACCEPT },
      operation,
      signal,
      expect: [200, 404],
    });
    if (response.status === 404) {
      await response.discard();
      throw noSuchTag(name);
    }
    return takeManifest(response.body, name);
  }

  return {
    resolve,
    manifest,
    async blob(blob, range, operation, signal) {
      if (range?.length === 0) return none();
      const whole = range === undefined || (range.offset === 0 && range.length === blob.size);
      const last = whole ? 0 : range.offset + range.length - 1;
      const response = await ask(at(`blobs/${blob.digest}`), {
        headers: whole ? {} : { range: `bytes=${range.offset}-${last}` },
        operation,
        signal,
        expect: whole ? [200] : [200, 206],
      });
      if (whole) return checkedBlob(response.body, blob);
      if (response.status === 200) return slice(response.body, range.offset, range.length);
      const [, start, end] =
        /^bytes (\d+)-(\d+)\//.exec(response.headers["content-range"] ?? "") ?? [];
      if (Number(start) === range.offset && Number(end) === last) return response.body;
      await response.discard();
      throw new SourceError("invalid", "the registry sent another part than was asked for");
    },
    async tags(signal) {
      const tags: string[] = [];
      const seen = new Set<string>();
      let url: URL | undefined = at(`tags/list?n=${TAGS_PER_PAGE}`);
      while (url !== undefined) {
        seen.add(url.href);
        const response: HttpResponse = await ask(url, { operation: "probe", signal });
        tags.push(...tagsOf(await readText(response.body, MAX_TAGS_PAGE)));
        if (tags.length > MAX_TAGS) {
          throw new SourceError("invalid", `the repository has more than ${MAX_TAGS} tags`);
        }
        url = nextPage(response.headers["link"], url);
        if (url !== undefined && (seen.has(url.href) || url.origin !== registry.origin)) {
          throw new SourceError("invalid", "the registry's list of tags does not end");
        }
      }
      return tags;
    },
    async referrers(digest, signal) {
      const response = await ask(at(`referrers/${digest}`), {
        headers: { accept: MEDIA.index },
        operation: "signature",
        signal,
        expect: [200, 400, 404, 405, 406],
      });
      if (response.status !== 200) {
        await response.discard();
        return undefined;
      }
      const index = parseManifest((await takeManifest(response.body, "referrers")).bytes);
      return index.kind === "index" ? index.manifests : [];
    },
    async has(digest, signal) {
      const response = await ask(at(`blobs/${digest}`), {
        method: "HEAD",
        operation: "look",
        signal,
        expect: [200, 404],
      });
      await response.discard();
      return response.status === 200;
    },
    async putBlob(blob, content, signal) {
      const begun = await ask(at("blobs/uploads/"), {
        method: "POST",
        headers: { "content-length": "0" },
        operation: "upload",
        signal,
        expect: [202],
      });
      await begun.discard();
      const place = URL.parse(begun.headers["location"] ?? "", begun.url);
      if (place === null || (registry.protocol === "https:" && place.protocol !== "https:")) {
        throw new SourceError("invalid", "the registry names no place to upload to");
      }
      place.searchParams.set("digest", blob.digest);
      const done = await ask(place, {
        method: "PUT",
        headers: {
          "content-type": "application/octet-stream",
          "content-length": String(blob.size),
        },
        body: content(),
        operation: "upload",
        signal,
        expect: [201, 204],
      });
      await done.discard();
    },
    async putManifest(tag, { bytes, mediaType }, signal) {
      const response = await ask(at(`manifests/${tag}`), {
        method: "PUT",
        headers: { "content-type": mediaType },
        body: bytes,
        operation: "upload",
        signal,
        expect: [201],
      });
      await response.discard();
    },
    identity: () => signIn.identity(),
    close: () => client.close(),
  };
}

function noSuchTag(name: string): SourceError {
  const what = name.includes(":") ? "digest" : "tag";
  return new SourceError("not-found", `there is no such repository, or it has no ${what} ${name}`, {
    reached: "signed-in",
    hint: "check the name in the URL",
  });
}

function tagsOf(text: string): string[] {
  let tags: unknown;
  try {
    ({ tags } = JSON.parse(text) as { tags?: unknown });
  } catch {
    throw new SourceError("invalid", "the registry's list of tags is not JSON");
  }
  return Array.isArray(tags) ? tags.filter((tag) => typeof tag === "string") : [];
}

/** RFC 8288, as the specification uses it. */
function nextPage(link: string | undefined, from: URL): URL | undefined {
  const [, target] = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(link ?? "") ?? [];
  return target === undefined ? undefined : (URL.parse(target, from) ?? undefined);
}

async function* none(): AsyncGenerator<Uint8Array> {}

/** A part of an answer that is the whole: caches give that. What follows the part is not waited for. */
async function* slice(
  body: AsyncIterable<Uint8Array>,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of body) {
    const part = chunk.subarray(Math.max(0, offset - at), Math.max(0, offset + length - at));
    at += chunk.byteLength;
    if (part.byteLength > 0) yield part;
    if (at >= offset + length) return;
  }
}
