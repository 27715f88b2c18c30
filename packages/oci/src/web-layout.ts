/** An image layout that a web server serves, to be read: `index.json` names manifests, `blobs/sha256` holds everything. */
import { SourceError, UsageError } from "@pannier/core/adapter";
import {
  createHttpClient,
  type HttpRequest,
  type HttpResponse,
  ifNoneMatchHeaders,
  makeAuthorize,
  readBytes,
  type Validator,
  validatorOf,
} from "@pannier/http-client";
import { readBlob } from "./http-blob.ts";
import { imageIn, readLayoutIndex, tagsIn } from "./layout-index.ts";
import { type Descriptor, MAX_MANIFEST } from "./manifest.ts";
import { DIGEST } from "./reference.ts";
import { type ImageStore, type StoreInit, takeManifest } from "./store.ts";

/** Nothing is asked yet. @throws UsageError where it is to be written to */
export function openWebLayout(init: StoreInit): ImageStore {
  const { location, reference, credentials, env } = init;
  if (init.actions !== "pull") throw readOnly();
  const port = location.port === undefined ? "" : `:${location.port}`;
  const path = reference.repository.split("/").map(encodeURIComponent).join("/");
  const base = new URL(`https://${location.host}${port}${path.replace(/\/*$/, "/")}`);
  const { username, password } = location;
  const authorize = makeAuthorize({ origin: base.origin, username, password, credentials, env });
  const client = createHttpClient({
    credentials,
    authorize,
    env,
    idleTimeout: init.idleTimeout,
    connections: 16,
    onRequest: init.onRequest,
  });
  /** The index that was read last: a poll asks whether there is another. */
  let known:
    | { readonly validator: Validator | undefined; readonly manifests: readonly Descriptor[] }
    | undefined;

  async function ask(name: string, request: HttpRequest): Promise<HttpResponse> {
    const { expect = [200] } = request;
    const response = await client.request(new URL(name, base), {
      subject: name,
      ...request,
      expect: [...(expect as readonly number[]), 404],
    });
    if (response.status !== 404) return response;
    await response.discard();
    const what = name === "index.json" ? "this is not an image layout" : "it is not in the layout";
    throw new SourceError("not-found", `${name}: ${what}`, {
      reached: "signed-in",
      hint: "check the path in the URL; a registry is oci://",
    });
  }

  async function readIndex(operation: string, signal: AbortSignal): Promise<readonly Descriptor[]> {
    const headers = ifNoneMatchHeaders(known?.validator);
    const response = await ask("index.json", { headers, operation, signal, expect: [200, 304] });
    if (response.status === 304 && known !== undefined) {
      await response.discard();
      return known.manifests;
    }
    const manifests = readLayoutIndex(await readBytes(response.body, MAX_MANIFEST));
    known = { validator: validatorOf(response), manifests };
    return manifests;
  }

  const resolve = async (tag: string, signal: AbortSignal) =>
    imageIn(await readIndex("probe", signal), tag, reference);

  return {
    resolve,
    async manifest(name, operation, signal) {
      const digest = DIGEST.test(name) ? name : await resolve(name, signal);
      return takeManifest((await ask(blobOf(digest), { operation, signal })).body, digest);
    },
    blob: (blob, range, operation, signal) =>
      readBlob(blob, range, (headers, expect) =>
        ask(blobOf(blob.digest), { headers, expect, operation, signal }),
      ),
    tags: async (signal) => tagsIn(await readIndex("probe", signal)),
    has: () => Promise.reject(readOnly()),
    putBlob: () => Promise.reject(readOnly()),
    putManifest: () => Promise.reject(readOnly()),
    async identity() {
      const { authorization } = await authorize(base);
      return authorization === undefined
        ? "nothing: as anybody"
        : "the credentials given to Pannier";
    },
    close: () => client.close(),
  };
}

function blobOf(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function readOnly(): UsageError {
  return new UsageError(
    "an image layout behind a web server cannot be written",
    "push to a registry, or to the directory that is served: oci+file:///dir:tag",
  );
}
