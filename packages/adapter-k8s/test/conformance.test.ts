import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { startApiServer } from "./api-server.ts";
import { harnessFor, type Writer } from "./stores.ts";

const TOKEN = "token-of-the-conformance-tests";
const server = await startApiServer();
server.tokens.add(TOKEN);
vitest.afterAll(() => server.close());

const writer: Writer = {
  port: server.port,
  token: TOKEN,
  async put(resource, object) {
    server.put(resource, object);
  },
  async delete(resource, namespace, name) {
    server.delete(resource, namespace, name);
  },
};

vitest.describe.each(["configmaps", "secrets"] as const)("%s", (resource) => {
  describeAdapter(vitest, harnessFor(writer, resource, { network: "http" }), {
    largeFile: 1 << 20,
  });
});
