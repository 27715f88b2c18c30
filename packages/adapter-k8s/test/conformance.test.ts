import { describeAdapter } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { k8sAdapter } from "../src/index.ts";
import { startApiServer } from "./api-server.ts";
import { createStore, holds, kubeconfigFor, type Writer } from "./stores.ts";

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
  describeAdapter(
    vitest,
    {
      adapter: k8sAdapter as never,
      traits: {
        symlinks: false,
        modes: "none",
        mtimes: false,
        directories: false,
        network: "http",
        holds,
      },
      secrets: [TOKEN],
      failures: {
        auth: () => ({
          url: `k8s://default/${resource}`,
          options: { kubeconfig: kubeconfigFor(server.port, { token: "another-token" }) },
        }),
        "not-found": () => ({
          url: `k8s://default/${resource}/missing`,
          options: { kubeconfig: kubeconfigFor(server.port, { token: TOKEN }) },
        }),
      },
      create: createStore(writer, resource),
    },
    { largeFile: 1 << 20 },
  );
});
