/** examples/charts: values for charts of others, by stand-ins of them (test/deploy/stand-ins). */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { type Rendered, renderChart, withoutHelm } from "../support/helm.ts";
import { startPannier } from "../support/pannier.ts";
import { kube } from "./servers/kube.ts";
import { describeWith } from "./support.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/charts/", import.meta.url));
const SIDECAR = new URL("../../deploy/kustomize/sidecar/container.yaml", import.meta.url);
const skipReason = withoutHelm ?? "";

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly containerPort: number }[];
  readonly volumeMounts: readonly Mount[];
  readonly [field: string]: unknown;
}

interface Pod {
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly { readonly name: string }[];
}

function read(name: string): unknown {
  return parse(readFileSync(join(EXAMPLES, name), "utf8"));
}

function render(chart: string): readonly Rendered[] {
  return renderChart(`test/deploy/stand-ins/${chart}`, read(`${chart}.yaml`));
}

function podsOf(objects: readonly Rendered[]): Pod[] {
  return objects.flatMap(({ spec }) => {
    const { template } = (spec ?? {}) as { template?: { spec: Pod } };
    return template === undefined ? [] : [template.spec];
  });
}

function pannierOf({ initContainers = [], containers }: Pod): Container {
  const found = [...initContainers, ...containers].find(({ name }) => name === "pannier");
  if (found === undefined) throw new Error("no container is named pannier");
  return found;
}

test.skipIf(skipReason).each([
  ["airflow", 4],
  ["grafana", 1],
  ["jenkins", 1],
  ["opa", 1],
])(
  "the values for %s give the sidecar that kustomize gives",
  { meta: { skipReason } },
  (chart, count) => {
    const file = parse(readFileSync(SIDECAR, "utf8"), { version: "1.1" }) as {
      spec: { template: { spec: Pod } };
    };
    const like = pannierOf({ ...file.spec.template.spec, containers: [] });
    const pods = podsOf(render(chart));
    expect(pods).toHaveLength(count);
    for (const pod of pods) {
      const sidecar = pannierOf(pod);
      // The chart of OPA takes containers, and no init containers.
      const isNative = chart !== "opa";
      expect(sidecar["restartPolicy"]).toBe(isNative ? "Always" : undefined);
      const fields = [
        "args",
        "envFrom",
        "livenessProbe",
        "readinessProbe",
        "resources",
        "securityContext",
      ];
      if (isNative) fields.push("startupProbe");
      for (const field of fields) expect(sidecar[field], field).toEqual(like[field]);
      const http = sidecar.env?.find(({ name }) => name === "PANNIER_HTTP")?.value ?? "8080";
      expect(sidecar.ports).toEqual([{ name: "pannier", containerPort: Number(http) }]);
      const [application] = pod.containers;
      expect(application?.name).not.toBe("pannier");
      expect(application?.volumeMounts).toContainEqual(
        expect.objectContaining({ name: "pannier-content", mountPath: "/content", readOnly: true }),
      );
    }
  },
);

// Below the link that Pannier swaps, or the file that it replaces.
test.skipIf(skipReason).each([
  ["airflow", '{"name":"AIRFLOW__CORE__DAGS_FOLDER","value":"/content/current"}'],
  ["grafana", "path: /content/current"],
  ["jenkins", '"/var/jenkins_home/casc_configs,/content/current"'],
  ["vllm", '["serve","/data/model/current"]'],
  ["opa", '"--bundle","/content/bundle.tar.gz"'],
])("%s reads what Pannier publishes", { meta: { skipReason } }, (chart, place) => {
  expect(JSON.stringify(render(chart))).toContain(place);
});

test.skipIf(skipReason)("the model is there before vLLM starts", { meta: { skipReason } }, () => {
  const [pod] = podsOf(render("vllm"));
  const { args, env, volumeMounts } = pannierOf(pod as Pod);
  expect(args).toContain("--once");
  expect(env).toContainEqual({ name: "PANNIER_TARGET", value: "/data/model" });
  expect(volumeMounts).toEqual(pod?.containers[0]?.volumeMounts);
});

test("the configuration for Jenkins is one", async () => {
  const { data } = read("jenkins-pannier.yaml") as { data: Record<string, string> };
  const directory = await mkdtemp(join(tmpdir(), "pannier-jenkins-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  await writeFile(join(directory, "pannier.yaml"), data["pannier.yaml"] as string);
  const { code, stderr } = await startPannier(["validate", "--config", "pannier.yaml"], {
    cwd: directory,
    env: { RELOAD_TOKEN: "a-token" },
  }).ended;
  expect({ code, stderr }).toMatchObject({ code: 0 });
});

describeWith("kube", "the values for charts", (server) => {
  const PLACES: Readonly<Record<string, string>> = {
    ConfigMap: "/api/v1/namespaces/default/configmaps",
    Deployment: "/apis/apps/v1/namespaces/default/deployments",
    Role: "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
    StatefulSet: "/apis/apps/v1/namespaces/default/statefulsets",
  };

  test.skipIf(skipReason)("are taken, each field of them", { meta: { skipReason } }, async () => {
    for (const chart of ["airflow", "grafana", "jenkins", "opa", "vllm"])
      for (const object of render(chart)) {
        const query = "?dryRun=All&fieldValidation=Strict";
        const made = await kube(server, "POST", `${PLACES[object.kind]}${query}`, object);
        expect(made).toMatchObject({ kind: object.kind });
      }
  });
});
