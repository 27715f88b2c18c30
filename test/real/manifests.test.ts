/** The manifests in kube-apiserver: what it says to each of them, and what their roles allow. Policies: see annotation.test.ts. */
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { kube } from "./servers/kube.ts";
import { buildKustomization, withoutKustomize } from "../support/kustomize.ts";
import { describeWith } from "./support.ts";

const KUSTOMIZATIONS = [
  "examples/static-site/kubernetes/native",
  "examples/static-site/kubernetes/monitored",
  "examples/static-site/kubernetes/classic",
  "examples/model-server/kubernetes",
  "examples/share/kubernetes/smb",
  "examples/share/kubernetes/nfs",
  "examples/share/kubernetes/smb-mounted",
  "examples/share/kubernetes/nfs-mounted",
  "test/deploy/any-deployment/k8s-source",
];

/** Kind → where the API has it. */
const RESOURCES: Readonly<Record<string, string>> = {
  ConfigMap: "configmaps",
  Deployment: "deployments",
  NetworkPolicy: "networkpolicies",
  PersistentVolume: "persistentvolumes",
  PersistentVolumeClaim: "persistentvolumeclaims",
  Role: "roles",
  RoleBinding: "rolebindings",
  Secret: "secrets",
  Service: "services",
  ServiceAccount: "serviceaccounts",
};

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

const skipReason = withoutKustomize ?? "";

describeWith("kube", "the manifests", (server) => {
  function create({ apiVersion, kind, ...rest }: Manifest, query = ""): Promise<unknown> {
    const isClusterWide = kind === "PersistentVolume";
    const { namespace = "default" } = rest.metadata;
    const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const place = isClusterWide ? "" : `/namespaces/${namespace}`;
    const path = `${base}${place}/${RESOURCES[kind]}${query}`;
    return kube(server, "POST", path, { apiVersion, kind, ...rest });
  }

  test.skipIf(skipReason)("are taken, each field of them", { meta: { skipReason } }, async () => {
    await kube(server, "POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
    let count = 0;
    for (const path of KUSTOMIZATIONS) {
      for (const manifest of build(path)) {
        // No kind of Kubernetes' own: the operator's definition is not there.
        if (manifest.kind === "PodMonitor") continue;
        const query = "?dryRun=All&fieldValidation=Strict";
        await create(manifest, query).catch((error: Error) => {
          throw new Error(`${path}: ${error.message}`);
        });
        count++;
      }
    }
    expect(count).toBeGreaterThan(KUSTOMIZATIONS.length);
  });

  test.skipIf(skipReason)(
    "allow the sidecar to read ConfigMaps of its namespace, and nothing else",
    { meta: { skipReason } },
    async () => {
      for (const name of ["sources", "elsewhere"])
        await kube(server, "POST", "/api/v1/namespaces", { metadata: { name } });
      for (const manifest of build("test/deploy/any-deployment/k8s-source")) {
        if (!["ServiceAccount", "Role", "RoleBinding"].includes(manifest.kind)) continue;
        const text = JSON.stringify(manifest).replaceAll('"shop"', '"sources"');
        await create(JSON.parse(text) as Manifest);
      }
      const account = "/api/v1/namespaces/sources/serviceaccounts/pannier/token";
      const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} };
      const { status } = (await kube(server, "POST", account, request)) as {
        status: { token: string };
      };
      const as = { token: status.token };
      const ask = (method: "GET" | "POST" | "DELETE", path: string, body?: unknown) =>
        kube(server, method, `/api/v1${path}`, body, as).then(
          () => "allowed",
          (error: Error) => / (\d{3}) /.exec(error.message)?.[1],
        );
      const maps = "/namespaces/sources/configmaps";
      expect({
        list: await ask("GET", maps),
        get: await ask("GET", `${maps}/missing`),
        watch: await ask("GET", `${maps}?watch=true&timeoutSeconds=1`),
        create: await ask("POST", maps, { metadata: { name: "x" } }),
        delete: await ask("DELETE", `${maps}/missing`),
        secrets: await ask("GET", "/namespaces/sources/secrets"),
        elsewhere: await ask("GET", "/namespaces/elsewhere/configmaps"),
        everywhere: await ask("GET", "/configmaps"),
      }).toEqual({
        list: "allowed",
        get: "404",
        watch: "allowed",
        create: "403",
        delete: "403",
        secrets: "403",
        elsewhere: "403",
        everywhere: "403",
      });
    },
  );
});

function build(path: string): Manifest[] {
  return parseAllDocuments(buildKustomization(path)).map((document) => document.toJS() as Manifest);
}
