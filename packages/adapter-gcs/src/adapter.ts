/** The adapter: a bucket, or the objects below a prefix of one, as a source. */
import { type Adapter, type FileEntry, type Source, SourceError } from "@pannier/core";
import { createHttpClient } from "@pannier/http-client";
import { type Api, type GcsObject, makeApi } from "./api.ts";
import { makeSignIn } from "./credentials.ts";
import { checkSettings, gcsOptions } from "./options.ts";

export const gcsAdapter: Adapter<typeof gcsOptions> = {
  name: "gcs",
  package: "@pannier/adapter-gcs",
  schemes: ["gs"],
  options: gcsOptions,
  description: "a bucket of Google Cloud Storage, or a prefix in one",

  async open(location, options, context) {
    const { env } = process;
    const settings = checkSettings(location, options, env["STORAGE_EMULATOR_HOST"]);
    const { credentials, idleTimeout } = context;
    const http = createHttpClient({
      credentials,
      env,
      idleTimeout,
      onRequest: (operation) => context.request(operation),
    });
    const { anonymous, project } = settings;
    const signIn = makeSignIn({ anonymous, project, credentials, env, http });
    const api = makeApi({ http, signIn, settings });
    const prefix = settings.path === "" ? "" : settings.path.replace(/\/?$/, "/");
    const source: Source = {
      async probe(signal) {
        signal.throwIfAborted();
        if (settings.marker === undefined) return undefined;
        const { generation } = await api.object(prefix + settings.marker, signal);
        return { token: `marker ${generation}` };
      },
      async list(signal) {
        signal.throwIfAborted();
        return { ordered: true, entries: entries(api, prefix, signal) };
      },
      async read(entry, range, signal) {
        const { path, size, ref: generation } = entry;
        if (generation === undefined) throw new SourceError("changed", `${path}: not pinned`);
        return api.content(prefix + path, { generation, size }, range, signal);
      },
      ranges: true,
      close: () => http.close(),
    };
    return source;
  },
};

async function* entries(
  api: Api,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<FileEntry[]> {
  let pageToken: string | undefined;
  do {
    const page = await api.page({ prefix, pageToken }, signal);
    yield page.items.map((object) => toEntry(object, prefix));
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
}

function toEntry(object: GcsObject, prefix: string): FileEntry {
  const { name, size, generation, updated, md5Hash, crc32c } = object;
  const digest = hex("md5", md5Hash) ?? hex("crc32c", crc32c);
  return {
    kind: "file",
    path: name.slice(prefix.length),
    size: size === undefined ? undefined : Number(size),
    mtime: updated === undefined ? undefined : Date.parse(updated),
    fingerprint: digest?.algorithm === "md5" ? `md5:${digest.value}` : `generation:${generation}`,
    digest,
    ref: generation,
  };
}

function hex(algorithm: "md5" | "crc32c", base64: string | undefined) {
  return base64 === undefined
    ? undefined
    : { algorithm, value: Buffer.from(base64, "base64").toString("hex") };
}
