/** The admission policies that add the sidecar to annotated pods, in kube-apiserver. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { kube } from "./servers/kube.ts";
import { until } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const KUSTOMIZE = fileURLToPath(new URL("../../deploy/kustomize", import.meta.url));
const IMAGE = "registry.example.com/pannier:1.0.0-git";
const PATHS: Readonly<Record<string, string>> = {
  MutatingAdmissionPolicy: "mutatingadmissionpolicies",
  MutatingAdmissionPolicyBinding: "mutatingadmissionpolicybindings",
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings",
};

interface Named {
  readonly name: string;
  readonly [field: string]: unknown;
}

interface PodSpec {
  readonly initContainers?: readonly Named[];
  readonly containers: readonly Named[];
  readonly volumes?: readonly Named[];
}

interface PodMetadata {
  readonly labels?: Readonly<Record<string, string>>;
}

interface Policy {
  readonly kind: string;
  readonly metadata: Named;
  readonly spec: { readonly variables?: { name: string; expression: string }[] };
}

describeWith("kube", "pods with an annotation", (server) => {
  const source = { "pannier.dev/source": "file:///x" };
  let pods = 0;

  /** What the API server makes of a pod. @throws Error with its refusal */
  async function made(annotations: Record<string, string>, spec: Partial<PodSpec> = {}) {
    return (await madePod(annotations, spec, {})).spec;
  }

  async function madePod(
    annotations: Record<string, string>,
    spec: Partial<PodSpec>,
    labels: Record<string, string>,
  ) {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `pod-${pods++}`, annotations, labels },
      // Another plug-in would mount the token under a name by chance.
      spec: { automountServiceAccountToken: false, containers: [app("web")], ...spec },
    };
    const path = "/api/v1/namespaces/annotated/pods?dryRun=All";
    return (await kube(server, "POST", path, pod)) as { metadata: PodMetadata; spec: PodSpec };
  }

  /** The server takes the policies over in its own time: both are there when both have something to say. */
  async function isReady(): Promise<boolean> {
    const refused = made({ ...source, "pannier.dev/sorce": "x" });
    if (
      await refused.then(
        () => true,
        () => false,
      )
    )
      return false;
    const spec = await made(source).catch(() => undefined);
    return spec?.initContainers?.length === 1;
  }

  beforeAll(async () => {
    await kube(server, "POST", "/api/v1/namespaces", {
      metadata: {
        name: "annotated",
        labels: { "pod-security.kubernetes.io/enforce": "restricted" },
      },
    });
    // No controller makes it here.
    await kube(server, "POST", "/api/v1/namespaces/annotated/serviceaccounts", {
      metadata: { name: "default" },
    });
    for (const file of ["mutating.yaml", "validating.yaml"]) {
      const text = await readFile(join(KUSTOMIZE, "annotation", file), "utf8");
      for (const document of parseAllDocuments(text)) {
        const object = document.toJS() as Policy;
        const image = object.spec.variables?.find(({ name }) => name === "image");
        // By its place, as a patch does.
        if (image !== undefined)
          object.spec.variables?.splice(0, 1, { ...image, expression: `'${IMAGE}'` });
        const path = `/apis/admissionregistration.k8s.io/v1/${PATHS[object.kind]}?fieldValidation=Strict`;
        await kube(server, "POST", path, object);
      }
    }
    await until("the policies", isReady);
  });

  test("have the sidecar that kustomize makes, field by field", async () => {
    const { initContainers, volumes } = await patchOf("sidecar/container.yaml");
    const { volumes: common = [] } = await patchOf("common/volumes.yaml");
    expect(volumes).toBeUndefined();
    const [sidecar] = initContainers ?? [];
    const mount = { name: "pannier-content", mountPath: "/content", readOnly: true };
    const byKustomize = await made(
      {},
      {
        initContainers: [{ ...(sidecar as Named), image: IMAGE }],
        containers: [{ ...app("web"), volumeMounts: [mount] }],
        volumes: common,
      },
    );
    expect(sorted(await made({ "pannier.dev/config": "pannier" }))).toEqual(sorted(byKustomize));
  });

  test("follow the source of their annotation", async () => {
    const { initContainers, containers, volumes } = await made({
      "pannier.dev/source": "git+https://git.example.com/web/site.git?ref=main",
      "pannier.dev/period": "10s",
      "pannier.dev/target": "/srv/site",
    });
    expect(initContainers?.[0]).toMatchObject({
      name: "pannier",
      image: IMAGE,
      env: [
        { name: "PANNIER_SOURCE", value: "git+https://git.example.com/web/site.git?ref=main" },
        { name: "PANNIER_TARGET", value: "/content" },
        { name: "PANNIER_PERIOD", value: "10s" },
      ],
    });
    expect(containers[0]?.["volumeMounts"]).toEqual([
      { name: "pannier-content", mountPath: "/srv/site", readOnly: true },
    ]);
    expect(volumes?.map(({ name }) => name)).not.toContain("pannier-config");
  });

  test("start it before their own init containers, and mount the volume where they say", async () => {
    const own = { name: "scratch", mountPath: "/scratch" };
    const { initContainers, containers } = await made(
      { "pannier.dev/source": "file:///x", "pannier.dev/container": "web" },
      {
        initContainers: [app("first")],
        containers: [{ ...app("web"), volumeMounts: [own] }, app("other")],
        volumes: [{ name: "scratch", emptyDir: {} }],
      },
    );
    expect(initContainers?.map(({ name }) => name)).toEqual(["pannier", "first"]);
    const mounts = containers.map(({ volumeMounts = [] }) => volumeMounts as Named[]);
    expect(mounts[0]?.map(({ name }) => name).toSorted()).toEqual(["pannier-content", "scratch"]);
    expect(mounts[1]).toEqual([]);
  });

  test("have the label that kustomize gives, unless they have one of that name", async () => {
    for (const [labels, expected] of [
      [{}, { pannier: "sidecar" }],
      [{ app: "web" }, { app: "web", pannier: "sidecar" }],
      // A controller that selects by it would make pods without end.
      [{ pannier: "of-the-team" }, { pannier: "of-the-team" }],
    ])
      expect((await madePod(source, {}, labels ?? {})).metadata.labels).toEqual(expected);
  });

  test("are left alone without one", async () => {
    const spec = await made({ "example.com/pannier.dev": "x" });
    expect(spec.initContainers).toBeUndefined();
    expect(spec.volumes).toBeUndefined();
  });

  test.each<[string, Record<string, string>, Partial<PodSpec>, string]>([
    [
      "another image",
      source,
      { initContainers: [{ ...app("pannier"), restartPolicy: "Always" }] },
      `has to have the image ${IMAGE}`,
    ],
    [
      "no sidecar",
      source,
      { initContainers: [{ ...app("pannier"), image: IMAGE }] },
      "restartPolicy Always",
    ],
    [
      "a target without a source",
      { "pannier.dev/target": "/content" },
      {},
      "set either pannier.dev/source or pannier.dev/config",
    ],
    [
      "both a source and a configuration",
      { ...source, "pannier.dev/config": "x" },
      {},
      "set either",
    ],
    [
      "a period beside a configuration",
      { "pannier.dev/config": "x", "pannier.dev/period": "1s" },
      {},
      "set it in pannier.yaml",
    ],
    [
      "a misspelled annotation",
      { ...source, "pannier.dev/interval": "1s" },
      {},
      "unknown annotation pannier.dev/interval",
    ],
    [
      "a container that is not there",
      { ...source, "pannier.dev/container": "x" },
      {},
      "does not name a container",
    ],
    [
      "a relative target",
      { ...source, "pannier.dev/target": "content" },
      {},
      "is an absolute path",
    ],
  ])("are refused with %s", async (_what, annotations, spec, message) => {
    await expect(made(annotations, spec)).rejects.toThrow(message);
  });
});

function app(name: string): Named {
  return {
    name,
    image: "app",
    securityContext: {
      runAsNonRoot: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
      seccompProfile: { type: "RuntimeDefault" },
    },
  };
}

async function patchOf(path: string): Promise<Partial<PodSpec>> {
  const patch = parse(await readFile(join(KUSTOMIZE, path), "utf8"), { version: "1.1" }) as {
    spec: { template: { spec: PodSpec } };
  };
  return patch.spec.template.spec;
}

/** The order of volumes means nothing. */
function sorted({ volumes = [], ...spec }: PodSpec): PodSpec {
  return { ...spec, volumes: volumes.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}
