import type { SourceAddress } from "@pannier/adapter-kit";
import { type ObjectServer, objectStores } from "../../../test/support/stores.ts";

/** Stores of the conformance suite: a bucket each, on any server of Google's API. @param access how their sources sign in */
export function createStore(
  server: () => ObjectServer,
  { credentials, options }: Pick<SourceAddress, "credentials" | "options">,
) {
  return objectStores(server, (bucket, below, port) => ({
    url: `gs://${bucket}/${below}`,
    credentials,
    options: { endpoint: `http://127.0.0.1:${port}`, ...options },
  }));
}
