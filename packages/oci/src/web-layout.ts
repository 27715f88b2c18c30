/** The folder of an image layout that a web server serves. It is only read. */
import { type Folder, UsageError } from "@pannier/core/adapter";
import { createHttpClient, httpFolder, makeAuthorize } from "@pannier/http-client";
import { directoryOf } from "./reference.ts";
import type { StoreInit } from "./store.ts";

/** Nothing is asked yet. @throws UsageError where it is to be written to */
export function openWebFolder(init: StoreInit): Folder {
  const { location, reference, credentials, env } = init;
  if (init.actions !== "pull") throw readOnly();
  const port = location.port === undefined ? "" : `:${location.port}`;
  const base = new URL(`https://${location.host}${port}${directoryOf(reference)}`);
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

  return httpFolder({
    async ask(name, { body, sha256: _sha256, ...question }) {
      if (body !== undefined) throw readOnly();
      return client.request(new URL(name, base), { subject: name, ...question });
    },
    async identity() {
      const { authorization } = await authorize(base);
      return authorization === undefined ? undefined : "the credentials given to Pannier";
    },
    close: () => client.close(),
  });
}

function readOnly(): UsageError {
  return new UsageError(
    "an image layout behind a web server cannot be written",
    "push to a registry, or to where the web server has it from: oci+file:///dir:tag, oci+s3://bucket/prefix:tag, oci+davs://host/dir:tag",
  );
}
