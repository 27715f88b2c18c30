/** A registry over HTTP (the distribution specification). */
import { SourceError } from "@pannier/core/adapter";
import { ACCEPT, MEDIA, parseManifest } from "./manifest.ts";
import { DIGEST } from "./reference.ts";
import { openRegistryClient } from "./registry-client.ts";
import { listTags } from "./registry-tags.ts";
import { uploadBlob, uploadManifest } from "./registry-upload.ts";
import { checkedBlob, type ImageStore, type StoreInit, takeManifest } from "./store.ts";

/** Opens a repository of a registry; nothing is asked yet. */
export function openRegistry(init: StoreInit): ImageStore {
  const client = openRegistryClient(init);
  const { at, ask } = client;

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
    tags: (signal) => listTags(client, signal),
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
    putBlob: (...upload) => uploadBlob(client, ...upload),
    putManifest: (...upload) => uploadManifest(client, ...upload),
    identity: () => client.identity(),
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
