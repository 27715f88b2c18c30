import type { SourceAddress } from "@pannier/adapter-kit";
import { type ObjectServer, objectStores } from "../../../test/support/stores.ts";

export interface BlobStores extends ObjectServer {
  readonly account: string;
}

/** Stores of the conformance suite: a container each, on any server of the blob service. @param access how their sources sign in */
export function createStore(
  server: () => BlobStores,
  { credentials, options }: Pick<SourceAddress, "credentials" | "options">,
) {
  return objectStores(server, (container, below, port, { account }) => ({
    url: `az://${account}/${container}/${below}`,
    credentials,
    options: { endpoint: `http://127.0.0.1:${port}/${account}`, ...options },
  }));
}
