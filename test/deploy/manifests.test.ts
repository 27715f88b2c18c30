/** The manifests: what kustomize makes of them, against the schemas of the versions that they are for. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { findProgram } from "../real/servers/process.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const SCHEMAS = join(CHECKOUT, ".tools/python");

/** Kustomization → the oldest and the newest version that it is checked against. */
const VERSIONS = {
  "examples/static-site/kubernetes/native": ["1.29", "1.37"],
  "examples/static-site/kubernetes/classic": ["1.25", "1.37"],
  "examples/model-server/kubernetes": ["1.25", "1.37"],
} as const;

interface Container {
  readonly name: string;
  readonly image: string;
  readonly restartPolicy?: string;
  readonly securityContext?: Record<string, unknown>;
  readonly resources?: { readonly limits?: Record<string, string> };
  readonly volumeMounts?: readonly { readonly name: string }[];
}

interface Manifest {
  readonly kind: string;
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly initContainers: readonly Container[];
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

const kubectl = findProgram("kubectl");
const kustomize = findProgram("kustomize");
const missing =
  kubectl === undefined && kustomize === undefined
    ? "neither kubectl nor kustomize installed"
    : existsSync(SCHEMAS)
      ? undefined
      : "the schemas of Kubernetes are not installed";

describe.skipIf(missing)("manifests", { meta: { skipReason: missing ?? "" } }, () => {
  test.each(Object.entries(VERSIONS))("%s is valid", (path, versions) => {
    const text = build(path);
    for (const version of versions) {
      const script = join(import.meta.dirname, "validate.py");
      const said = execFileSync("python3", [script, version], {
        input: text,
        encoding: "utf8",
        env: { PATH: process.env["PATH"], PYTHONPATH: SCHEMAS },
      });
      const lines = said.trim().split("\n");
      expect(lines).toContain("valid Deployment");
      // Of the Prometheus operator, which has its own.
      expect(lines.filter((line) => !line.startsWith("valid"))).toEqual(
        path.endsWith("native") ? ["unknown PodMonitor"] : [],
      );
    }
  });

  test.each(Object.keys(VERSIONS))("every container of %s is confined", (path) => {
    const { initContainers, containers, volumes } = podOf(path);
    for (const container of [...initContainers, ...containers]) {
      expect(container.securityContext, container.name).toMatchObject({
        runAsNonRoot: true,
        readOnlyRootFilesystem: true,
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(container.resources?.limits?.["memory"], container.name).toBeDefined();
      for (const mount of container.volumeMounts ?? [])
        expect(volumes.map(({ name }) => name)).toContain(mount.name);
    }
  });

  test("the sidecar starts before the application, and goes on beside it", () => {
    const { initContainers, containers } = podOf("examples/static-site/kubernetes/native");
    expect(containers.map(({ name }) => name)).toEqual(["nginx"]);
    expect(initContainers).toMatchObject([
      { name: "pannier", restartPolicy: "Always", startupProbe: { httpGet: { path: "/readyz" } } },
    ]);
  });

  test("where there are no such sidecars, a first sync and a container take its place", () => {
    const { initContainers, containers } = podOf("examples/static-site/kubernetes/classic");
    expect(initContainers.map(({ name }) => name)).toEqual(["pannier-first"]);
    expect(containers.map(({ name }) => name).toSorted()).toEqual(["nginx", "pannier"]);
  });
});

const actionlint = findProgram("actionlint");
const unlinted = { skipReason: "actionlint not installed" };

test.skipIf(actionlint === undefined)("the workflows are valid", { meta: unlinted }, () => {
  const { status, stdout } = spawnSync(actionlint as string, [], {
    cwd: CHECKOUT,
    encoding: "utf8",
  });
  expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
});

function build(path: string): string {
  const [program, args] =
    kubectl === undefined ? [kustomize as string, ["build"]] : [kubectl, ["kustomize"]];
  return execFileSync(program, [...args, join(CHECKOUT, path)], { encoding: "utf8" });
}

function podOf(path: string) {
  const documents = parseAllDocuments(build(path)).map((one) => one.toJSON() as Manifest);
  const deployment = documents.find(({ kind }) => kind === "Deployment") as Manifest;
  return deployment.spec.template.spec;
}
