/** A registry over HTTP (the distribution specification). */
import { SourceError } from "@pannier/core/adapter";
import { readBlob } from "./http-blob.ts";
import { ACCEPT, MEDIA, parseManifest } from "./manifest.ts";
import { DIGEST } from "./reference.ts";
import { openRegistryClient } from "./registry-client.ts";
import { listTags } from "./registry-tags.ts";
import { uploadBlob, uploadManifest } from "./registry-upload.ts";
import { type ImageStore, type StoreInit, takeManifest } from "./store.ts";

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
      return readBlob(blob, range, (headers, expect) =>
        ask(at(`blobs/${blob.digest}`), { headers, operation, signal, expect }),
      );
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
    async has({ digest }, signal) {
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
