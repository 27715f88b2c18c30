/** Stores of the conformance suite: a ConfigMap or Secret for each file, which an annotation puts into its directory. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Harness, Store, StoreFiles } from "@pannier/adapter-kit";
import { afterAll } from "vitest";
import { k8sAdapter } from "../src/index.ts";
import type { ObjectInit } from "./api-server.ts";

/** What writes to a cluster. */
export interface Writer {
  readonly port: number;
  readonly token: string;
  /** Where it speaks TLS. */
  readonly caFile?: string | undefined;
  put(resource: "configmaps" | "secrets", object: ObjectInit): Promise<void>;
  delete(resource: "configmaps" | "secrets", namespace: string, name: string): Promise<void>;
}

const NAMESPACE = "default";
/** Objects that are written at once. */
const AT_ONCE = 16;

/** Kubernetes' own rule for keys (IsConfigMapKey), which are the last part of a path. */
function holds(path: string): boolean {
  const key = path.slice(path.lastIndexOf("/") + 1);
  return /^[-._a-zA-Z0-9]{1,253}$/.test(key) && !key.startsWith("..") && key !== ".";
}

/** The same suite for the server in memory and for a real one. */
export function harnessFor(
  writer: Writer,
  resource: "configmaps" | "secrets",
  traits: Harness["traits"],
): Harness {
  const kubeconfig = (token: string) => kubeconfigFor(writer.port, { ...writer, token });
  return {
    adapter: k8sAdapter as never,
    traits: {
      symlinks: false,
      modes: "none",
      mtimes: false,
      directories: false,
      holds,
      ...traits,
    },
    secrets: [writer.token],
    failures: {
      auth: () => ({
        url: `k8s://default/${resource}`,
        options: { kubeconfig: kubeconfig("another-token") },
      }),
      "not-found": () => ({
        url: `k8s://default/${resource}/missing`,
        options: { kubeconfig: kubeconfig(writer.token) },
      }),
    },
    create: createStore(writer, resource),
  };
}

let stores = 0;
const run = Date.now().toString(36);

function createStore(writer: Writer, resource: "configmaps" | "secrets") {
  return async (files: StoreFiles): Promise<Store> => {
    const label = `store-${run}-${++stores}`;
    const nameOf = (path: string) =>
      `${label}-${createHash("sha256").update(path).digest("hex").slice(0, 16)}`;
    const change = async (changes: StoreFiles) => {
      const all = [...changes];
      while (all.length > 0) {
        await Promise.all(
          all.splice(0, AT_ONCE).map(async ([path, file]) => {
            if (file === undefined) return writer.delete(resource, NAMESPACE, nameOf(path));
            const content = file.kind === "file" ? Buffer.from(file.content) : Buffer.alloc(0);
            const key = path.slice(path.lastIndexOf("/") + 1);
            const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
            const base64 = { [key]: content.toString("base64") };
            await writer.put(resource, {
              metadata: {
                namespace: NAMESPACE,
                name: nameOf(path),
                labels: { store: label },
                ...(folder !== "" && { annotations: { "pannier.dev/folder": folder } }),
              },
              ...(resource === "secrets" ? { data: base64 } : { binaryData: base64 }),
            });
          }),
        );
      }
    };
    await change(files);
    return {
      source: ({ port = writer.port }) => ({
        url: `k8s://${NAMESPACE}/${resource}`,
        options: { selector: `store=${label}`, kubeconfig: kubeconfigFor(port, writer) },
      }),
      change,
      server: { host: "127.0.0.1", port: writer.port },
      close: async () => {},
    };
  };
}

let directory: string | undefined;

afterAll(() => {
  if (directory !== undefined) rmSync(directory, { recursive: true });
  directory = undefined;
});

/** @returns path of a file */
export function kubeconfigFor(
  port: number,
  { token, caFile }: { readonly token: string; readonly caFile?: string | undefined },
): string {
  directory ??= mkdtempSync(join(tmpdir(), "pannier-kubeconfig-"));
  const name = createHash("sha256").update(`${port} ${token}`).digest("hex").slice(0, 16);
  const path = join(directory, name);
  const scheme = caFile === undefined ? "http" : "https";
  const ca = caFile === undefined ? "" : `, certificate-authority: ${caFile}`;
  writeFileSync(
    path,
    `current-context: test
clusters: [{ name: test, cluster: { server: "${scheme}://127.0.0.1:${port}"${ca} } }]
users: [{ name: user, user: { token: ${token} } }]
contexts: [{ name: test, context: { cluster: test, user: user } }]
`,
  );
  return path;
}
