/** The Helm chart: what it renders, what it refuses, and what kube-apiserver makes of it. */
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { blocks, page, section } from "../docs/pages.ts";
import { helm, type Rendered, renderChart, withoutHelm } from "../support/helm.ts";
import { buildKustomization, withoutKustomize } from "../support/kustomize.ts";
import { startPannier } from "../support/pannier.ts";
import { kube, KUBE_START, type KubeServer, startOwnKube } from "./servers/kube.ts";
import { end, findProgram, type Ground, until } from "./servers/process.ts";

const CHART = "deploy/helm/pannier";
const DEFINITIONS = fileURLToPath(new URL("../../.tools/definitions", import.meta.url));
const image = "registry.example.com/pannier:1.0.0-git";
const config = { mounts: [{ target: "/content/site", sources: ["k8s:///configmaps"] }] };

const VALUES = {
  "only the policies": { image },
  "only a relay": { image, annotation: false, relay: { config } },
  everything: {
    image,
    relay: { config, sources: { namespaces: ["default", "web"] } },
    monitoring: {
      podMonitor: true,
      prometheusRule: true,
      dashboard: true,
      labels: { release: "monitoring" },
    },
    networkPolicy: { egress: [{ ports: [{ port: 6443 }] }] },
  },
  "all namespaces": {
    image,
    relay: { config, sources: { namespaces: ["*"], resources: ["secrets"] } },
  },
  "a claim": {
    image,
    relay: { config, volume: { persistentVolumeClaim: { claimName: "relay" } } },
    networkPolicy: { enabled: false },
  },
} as const;

const skipReason = withoutHelm ?? withoutKustomize ?? "";

function kindsOf(objects: readonly Rendered[]): string[] {
  return objects.map(({ kind }) => kind).toSorted();
}

function find(objects: readonly Rendered[], kind: string): Rendered {
  const found = objects.find((each) => each.kind === kind);
  if (found === undefined) throw new Error(`no ${kind} among ${kindsOf(objects).join(", ")}`);
  return found;
}

/** In one order. kustomize adds empty lines to folded text, which mean nothing in CEL. */
function byKind(objects: readonly Rendered[]): unknown {
  const sorted = objects.toSorted((a, b) => (a.kind < b.kind ? -1 : 1));
  return JSON.parse(JSON.stringify(sorted).replaceAll("\\n\\n", "\\n"));
}

/** Of roles of a kind: namespace and rules. */
function rulesOf(objects: readonly Rendered[], kind: string) {
  return objects
    .filter((each) => each.kind === kind)
    .map(({ metadata, rules }) => [metadata.namespace, rules]);
}

function built(path: string): Rendered[] {
  return parseAllDocuments(buildKustomization(path)).map((each) => each.toJS() as Rendered);
}

describe.skipIf(skipReason)("the chart", { meta: { skipReason } }, () => {
  test.each(Object.entries(VALUES))("has nothing to complain about with %s", (_name, values) => {
    expect(helm(["lint", "--strict", CHART], values)).toContain("0 chart(s) failed");
  });

  test("has the policies of the kustomization, with the image", () => {
    const policies = built("deploy/kustomize/annotation").map((policy) => {
      const { variables } = policy.spec as { variables?: { name: string; expression: string }[] };
      if (variables !== undefined) variables[0] = { name: "image", expression: `'${image}'` };
      return policy;
    });
    expect(policies).toHaveLength(4);
    expect(byKind(renderChart(CHART, { image }))).toEqual(byKind(policies));
  });

  test("uses the beta API where there is no other", () => {
    const versions = renderChart(CHART, { image }, "--kube-version", "1.35").map(
      ({ kind, apiVersion }) => [kind, apiVersion.replace(/.*\//, "")],
    );
    expect(Object.fromEntries(versions)).toEqual({
      MutatingAdmissionPolicy: "v1beta1",
      MutatingAdmissionPolicyBinding: "v1beta1",
      ValidatingAdmissionPolicy: "v1",
      ValidatingAdmissionPolicyBinding: "v1",
    });
    expect(() => renderChart(CHART, { image }, "--kube-version", "1.33")).toThrow(
      "Kubernetes before 1.34 has no MutatingAdmissionPolicy: set annotation=false",
    );
    expect(kindsOf(renderChart(CHART, VALUES["only a relay"], "--kube-version", "1.33"))).toContain(
      "Deployment",
    );
  });

  test("lets the relay read what its sources need, and nothing else", () => {
    const verbs = ["get", "list", "watch"];
    expect(rulesOf(renderChart(CHART, VALUES.everything), "Role")).toEqual([
      ["default", [{ apiGroups: [""], resources: ["configmaps"], verbs }]],
      ["web", [{ apiGroups: [""], resources: ["configmaps"], verbs }]],
    ]);
    expect(rulesOf(renderChart(CHART, VALUES["all namespaces"]), "ClusterRole")).toEqual([
      [undefined, [{ apiGroups: [""], resources: ["secrets"], verbs }]],
    ]);
    expect(kindsOf(renderChart(CHART, VALUES["only a relay"]))).toEqual([
      "ConfigMap",
      "Deployment",
      "NetworkPolicy",
      "ServiceAccount",
    ]);
  });

  test("confines the relay as kustomize confines the sidecar", () => {
    interface PodSpec {
      readonly initContainers: readonly Record<string, unknown>[];
      readonly containers: readonly Record<string, unknown>[];
    }
    const podOf = (deployment: Rendered) =>
      (deployment.spec as { template: { spec: PodSpec } }).template.spec;
    const objects = renderChart(CHART, VALUES["only a relay"]);
    const monitored = built("examples/static-site/kubernetes/monitored");
    const [sidecar] = podOf(find(monitored, "Deployment")).initContainers;
    const [relay] = podOf(find(objects, "Deployment")).containers;
    for (const field of [
      "args",
      "env",
      "livenessProbe",
      "readinessProbe",
      "resources",
      "securityContext",
    ])
      expect(relay?.[field], field).toEqual(sidecar?.[field]);
    // The kustomization adds the port of its application.
    interface Rules {
      readonly ingress: readonly unknown[];
      readonly egress: readonly unknown[];
    }
    const policy = find(objects, "NetworkPolicy").spec as Rules;
    const like = find(monitored, "NetworkPolicy").spec as Rules;
    expect(policy.egress).toEqual(like.egress);
    expect(policy.ingress[0]).toEqual(like.ingress[0]);
  });

  test("finds annotated pods and the relay with one PodMonitor", () => {
    const objects = renderChart(CHART, VALUES.everything);
    const monitor = find(objects, "PodMonitor");
    expect(monitor.metadata.labels).toMatchObject({ release: "monitoring" });
    const like = find(built("examples/static-site/kubernetes/monitored"), "PodMonitor");
    const { podMetricsEndpoints } = like.spec as Record<string, unknown>;
    expect(monitor.spec).toMatchObject({
      podMetricsEndpoints,
      selector: { matchExpressions: [{ key: "pannier", values: ["sidecar", "relay"] }] },
    });
    const { template } = find(objects, "Deployment").spec as { template: Rendered };
    expect(template.metadata.labels).toMatchObject({ pannier: "relay" });
  });

  test("has the dashboard and the alerts as they are", () => {
    const objects = renderChart(CHART, VALUES.everything);
    const dashboard = objects.find(({ metadata }) => metadata.labels?.["grafana_dashboard"]);
    const file = readFileSync(
      new URL("../../deploy/grafana/pannier.json", import.meta.url),
      "utf8",
    );
    expect(JSON.parse(dashboard?.data?.["pannier.json"] ?? "")).toEqual(JSON.parse(file));
    const [rules = ""] = blocks(section(page("docs/operations.md").text, "### Alerts"), "yaml");
    expect(find(objects, "PrometheusRule").spec).toEqual(parse(rules));
  });

  test("has a README whose values it takes, and a relay that takes their configuration", async () => {
    const [text = ""] = blocks(section(page(`${CHART}/README.md`).text, "## A relay"), "yaml");
    const objects = renderChart(CHART, parse(text));
    const configuration = objects.flatMap(({ data }) => data?.["pannier.yaml"] ?? []);
    expect(configuration).toHaveLength(1);
    const directory = await mkdtemp(join(tmpdir(), "pannier-chart-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    await writeFile(join(directory, "pannier.yaml"), configuration.join(""));
    const { code, stdout } = await startPannier(["validate", "--config", "pannier.yaml"], {
      cwd: directory,
    }).ended;
    expect({ code, stdout }).toMatchObject({ code: 0 });
  });

  test.each<[string, unknown, RegExp]>([
    ["no image", {}, /missing property 'image'/],
    ["an image with a quote", { image: "x' + 'y" }, /'\/image'.*does not match pattern/],
    [
      "a name it does not know",
      { image, relais: {} },
      /additional properties 'relais' not allowed/,
    ],
    ["a name below", { image, relay: { replicas: 2 } }, /'\/relay'.*'replicas' not allowed/],
    ["another type", { image, annotation: "no" }, /'\/annotation'.*want boolean/],
    [
      "another resource",
      { image, relay: { sources: { resources: ["pods"] } } },
      /'\/relay\/sources\/resources\/0'.*must be one of 'configmaps', 'secrets'/,
    ],
    [
      "two volumes",
      { image, relay: { volume: { emptyDir: {}, persistentVolumeClaim: { claimName: "x" } } } },
      /'\/relay\/volume'/,
    ],
  ])("refuses %s", (_what, values, message) => {
    expect(() => renderChart(CHART, values)).toThrow(message);
  });
});

const programs = ["kube-apiserver", "etcd", "openssl"].map((name) => findProgram(name) ?? "");
const withoutKube =
  withoutHelm ??
  (programs.includes("") ? "kube-apiserver, etcd or openssl not installed" : undefined) ??
  (existsSync(DEFINITIONS) ? "" : "the operator's definitions are not there: test/real/run");

describe.skipIf(withoutKube)(
  "the chart in Kubernetes",
  { meta: { skipReason: withoutKube } },
  () => {
    let ground: Ground;
    // Its own: the policies are for a whole cluster.
    let server: KubeServer;
    const ask = (method: "GET" | "POST", path: string, body?: unknown) =>
      kube(server, method, path, body);

    beforeAll(async () => {
      ground = { base: await mkdtemp(join(tmpdir(), "pannier-kube-")), children: [] };
      const beta = "--runtime-config=admissionregistration.k8s.io/v1beta1=true";
      server = await startOwnKube(ground, programs, { flags: [beta] });
      for (const name of ["team", "web"])
        await ask("POST", "/api/v1/namespaces", { metadata: { name } });
      await ask("POST", "/api/v1/namespaces/web/serviceaccounts", {
        metadata: { name: "default" },
      });
      for (const name of await readdir(DEFINITIONS)) {
        const definition: unknown = parse(await readFile(join(DEFINITIONS, name), "utf8"));
        await ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
      }
      const kinds = async () => {
        const answer = await ask("GET", "/apis/monitoring.coreos.com/v1").catch(() => undefined);
        return (answer as { resources: unknown[] } | undefined)?.resources.length;
      };
      await until("the kinds", async () => (await kinds()) === 2);
    }, KUBE_START);

    afterAll(async () => {
      await Promise.all(ground.children.map(end));
      await rm(ground.base, { recursive: true });
    });

    /** Where the API has a kind. */
    async function pathOf({ apiVersion, kind, metadata }: Rendered): Promise<string> {
      const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
      const { resources } = (await ask("GET", base)) as {
        resources: { name: string; kind: string; namespaced: boolean }[];
      };
      const found = resources.find((each) => each.kind === kind && !each.name.includes("/"));
      if (found === undefined) throw new Error(`${apiVersion} has no ${kind}`);
      const place = found.namespaced ? `/namespaces/${metadata.namespace}` : "";
      return `${base}${place}/${found.name}`;
    }

    test.each([
      ...Object.entries(VALUES).map(([name, values]) => [name, values, "1.36"] as const),
      ["only the policies", { image }, "1.35"] as const,
    ])("is taken, each field of it, with %s", async (_name, values, version) => {
      const objects = renderChart(CHART, values, "--kube-version", version);
      for (const object of objects)
        await ask("POST", `${await pathOf(object)}?dryRun=All&fieldValidation=Strict`, object);
      expect(objects.length).toBeGreaterThan(3);
    });

    test("adds the sidecar to pods, once it is installed", async () => {
      const target = ["--kubeconfig", server.kubeconfig, "--namespace", "team"];
      helm(["install", "pannier", CHART, ...target], VALUES.everything);
      interface Pod {
        readonly metadata: { readonly labels: Readonly<Record<string, string>> };
        readonly spec: { readonly initContainers?: { name: string; image: string }[] };
      }
      const given = {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { generateName: "site-", annotations: { "pannier.dev/source": "file:///x" } },
        spec: { containers: [{ name: "site", image: "site" }] },
      };
      const create = () => ask("POST", "/api/v1/namespaces/web/pods", given) as Promise<Pod>;
      // The server takes the policies over in its own time.
      let pod: Pod | undefined;
      await until("the policies", async () => {
        pod = await create().catch(() => undefined);
        return pod?.spec.initContainers !== undefined;
      });
      const { metadata, spec } = pod as unknown as Pod;
      expect(spec.initContainers).toMatchObject([
        { name: "pannier", image, restartPolicy: "Always" },
      ]);
      expect(metadata.labels).toEqual({ pannier: "sidecar" });

      const { spec: relay } = (await ask(
        "GET",
        "/apis/apps/v1/namespaces/team/deployments/pannier",
      )) as Rendered;
      expect(relay).toMatchObject({ replicas: 1 });
      // What a user is not allowed, a release does not leave behind.
      helm(["upgrade", "pannier", CHART, ...target], { image, annotation: false });
      const policies = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
      expect((await ask("GET", policies)) as { items: unknown[] }).toMatchObject({ items: [] });
      await expect(ask("GET", "/apis/apps/v1/namespaces/team/deployments/pannier")).rejects.toThrow(
        " 404 ",
      );
    });
  },
);
