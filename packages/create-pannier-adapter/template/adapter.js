import { decodedPath, SourceError } from "@pannier/core/adapter";
import {
  contentOf,
  createHttpClient,
  makeAuthorize,
  rangeHeader,
  readText,
} from "@pannier/http-client";

export const adapter = {
  name: "shelf",
  package: "pannier-adapter-shelf",
  schemes: ["shelf"],
  description: "files of a shelf server",
  options: { secure: { type: "boolean", default: true, description: "use https" } },

  async open(location, options, { credentials, idleTimeout, request }) {
    const port = location.port === undefined ? "" : `:${location.port}`;
    const base = new URL(`${options.secure ? "https" : "http"}://${location.host}${port}/`);
    const shelf = decodedPath(location).replaceAll("/", "");
    const { env } = process;
    const authorize = makeAuthorize({ origin: base.origin, credentials, env });
    const client = createHttpClient({
      credentials,
      authorize,
      env,
      idleTimeout,
      onRequest: request,
    });

    return {
      ranges: true,
      async probe(signal) {
        const answer = await client.request(new URL(`${shelf}/version`, base), { signal });
        return { token: await readText(answer.body, 100) };
      },
      async list(signal) {
        const answer = await client.request(new URL(`${shelf}/files`, base), { signal });
        const files = JSON.parse(await readText(answer.body, 16 * 1024 * 1024));
        if (!Array.isArray(files))
          throw new SourceError("invalid", "the answer is not a list of files");
        const entries = files.map(({ path, size, sha256 }) => ({
          kind: "file",
          path,
          size,
          fingerprint: sha256,
          digest: { algorithm: "sha256", value: sha256 },
        }));
        return { ordered: false, entries: [entries] };
      },
      async read(entry, range, signal) {
        const url = new URL(`${shelf}/content/${encodeURIComponent(entry.path)}`, base);
        const headers = {
          "if-match": `"${entry.fingerprint}"`,
          ...(range && { range: rangeHeader(range) }),
        };
        return contentOf(await client.request(url, { headers, subject: entry.path, signal }));
      },
      close: () => client.close(),
    };
  },
};
