/** The manifests: what kustomize makes of them, against the schemas of the versions that they are for. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { BlockList, isIPv6 } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { BUILT_IN } from "../../packages/cli/src/adapters.ts";
import { resolveSources } from "../../packages/cli/src/choose-adapter.ts";
import { findProgram } from "../real/servers/process.ts";
import { buildKustomization, withoutKustomize } from "../support/kustomize.ts";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const SCHEMAS = join(CHECKOUT, ".tools/schemas");
/** Of kinds that are not Kubernetes' own. */
const DEFINITIONS = join(CHECKOUT, ".tools/definitions");

/** Kustomization → the oldest and the newest version that it is checked against. */
const VERSIONS = {
  "examples/static-site/kubernetes/native": ["1.29", "1.37"],
  "examples/static-site/kubernetes/monitored": ["1.29", "1.37"],
  "examples/static-site/kubernetes/classic": ["1.25", "1.37"],
  "examples/model-server/kubernetes": ["1.25", "1.37"],
  "examples/share/kubernetes/smb": ["1.29", "1.37"],
  "examples/share/kubernetes/nfs": ["1.29", "1.37"],
  "examples/share/kubernetes/smb-mounted": ["1.29", "1.37"],
  "examples/share/kubernetes/nfs-mounted": ["1.29", "1.37"],
} as const;

interface Container {
  readonly name: string;
  readonly image: string;
  readonly restartPolicy?: string;
  readonly ports?: readonly { readonly name: string }[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly envFrom?: readonly { readonly secretRef: { readonly name: string } }[];
  readonly securityContext?: Record<string, unknown>;
  readonly resources?: { readonly limits?: Record<string, string> };
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
  }[];
}

type Volume = Readonly<Record<string, unknown>> & {
  readonly name: string;
  readonly persistentVolumeClaim?: { readonly claimName: string };
};

/** Those that the standard `restricted` allows a pod. */
const VOLUME_TYPES = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
];

interface Secret {
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
}

interface Policy {
  readonly spec: {
    readonly egress: readonly {
      readonly to: readonly { readonly ipBlock?: { cidr: string; except: string[] } }[];
      readonly ports: readonly { readonly port: number }[];
    }[];
  };
}

interface Document {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

interface PodMonitor {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly podMetricsEndpoints: readonly { readonly port: string }[];
  };
}

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly initContainers: readonly Container[];
        readonly containers: readonly Container[];
        readonly volumes: readonly Volume[];
      };
    };
  };
}

interface Workflow {
  readonly jobs: {
    readonly image: {
      readonly strategy: {
        readonly matrix: { readonly include: readonly { name: string; adapters: string }[] };
      };
    };
  };
}

const missing =
  withoutKustomize ??
  (existsSync(SCHEMAS) ? undefined : "the schemas of Kubernetes are not installed");

const isDefined = existsSync(DEFINITIONS);
const undefinedKinds = { skipReason: "the definition of the PodMonitor is not there" };

describe.skipIf(missing)("manifests", { meta: { skipReason: missing ?? "" } }, () => {
  test.each(Object.entries(VERSIONS))("%s is valid", (path, versions) => {
    const text = buildKustomization(path);
    for (const version of versions) {
      const lines = validate(text, version);
      expect(lines).toContain("valid Deployment");
      expect(lines.filter((line) => !line.startsWith("valid"))).toEqual(
        isDefined || !path.endsWith("monitored") ? [] : ["unknown PodMonitor"],
      );
    }
  });

  test.skipIf(!isDefined)(
    "the definition of the PodMonitor finds what is wrong",
    { meta: undefinedKinds },
    () => {
      const text = buildKustomization("examples/static-site/kubernetes/monitored");
      expect(validate(text, "1.37")).toContain("valid PodMonitor");
      for (const [right, wrong] of [
        ["path: /metrics", "pathh: /metrics"],
        ["interval: 30s", "interval: 30 seconds"],
      ] as const) {
        const lines = validate(text.replace(right, wrong), "1.37");
        expect(lines.filter((line) => !line.startsWith("valid"))).toEqual([
          expect.stringMatching(/^invalid PodMonitor \$\.spec\.podMetricsEndpoints\[0\]/),
        ]);
      }
    },
  );

  test.each(["native", "classic"])("any cluster knows all kinds of %s", (form) => {
    const text = buildKustomization(`examples/static-site/kubernetes/${form}`);
    const groups = text.match(/^apiVersion: .+$/gm) ?? [];
    expect(groups.length).toBeGreaterThan(3);
    for (const group of groups)
      expect(group).toMatch(/^apiVersion: (v1|apps\/v1|networking\.k8s\.io\/v1)$/);
  });

  test("a command by exec finds the configuration", () => {
    for (const path of ["native", "classic"].map(
      (form) => `examples/static-site/kubernetes/${form}`,
    )) {
      const { initContainers, containers } = podOf(path);
      const sidecar = [...initContainers, ...containers].find(({ name }) => name === "pannier");
      expect(sidecar?.env).toContainEqual({
        name: "PANNIER_CONFIG",
        value: "/etc/pannier/pannier.yaml",
      });
    }
  });

  test("the PodMonitor finds the sidecar's port", () => {
    const path = "examples/static-site/kubernetes/monitored";
    const { spec } = documentOf(path, "PodMonitor") as PodMonitor;
    const { metadata } = (documentOf(path, "Deployment") as Deployment).spec.template;
    expect(metadata.labels).toMatchObject(spec.selector.matchLabels);
    const names = podOf(path).initContainers.flatMap(({ ports }) => ports?.map(({ name }) => name));
    for (const { port } of spec.podMetricsEndpoints) expect(names).toContain(port);
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
    for (const { name, ...type } of volumes)
      expect(VOLUME_TYPES, name).toEqual(expect.arrayContaining(Object.keys(type)));
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

  test.each([
    ["sidecar", ["pannier", "migrate"], ["shop"]],
    ["sidecar-classic", ["pannier-first", "migrate"], ["pannier", "shop"]],
  ])(
    "%s comes before an application's own init containers, and to no other",
    (component, first, then) => {
      const path = `test/deploy/any-deployment/${component}`;
      const { initContainers, containers, volumes } = podOf(path, "shop");
      expect(initContainers.map(({ name }) => name)).toEqual(first);
      expect(containers.map(({ name }) => name).toSorted()).toEqual(then);
      expect(volumes.map(({ name }) => name)).toContain("uploads");
      expect(podOf(path, "other")).toEqual({ containers: [{ name: "other", image: "other" }] });
    },
  );

  test.each(["examples/static-site/kubernetes/native", "examples/static-site/kubernetes/classic"])(
    "the source of %s is one variable",
    (path) => {
      const { metadata, data } = documentOf(path, "Secret") as Secret;
      expect(Object.keys(data)).toEqual(["SOURCE"]);
      const { initContainers, containers } = podOf(path);
      const sidecars = [...initContainers, ...containers].filter(({ image }) =>
        image.startsWith("registry.example.com/pannier:"),
      );
      expect(sidecars).not.toEqual([]);
      for (const { envFrom } of sidecars)
        expect(envFrom).toEqual([{ secretRef: { name: metadata.name, optional: true } }]);
    },
  );

  test("a sidecar with k8s:// sources may get, list and watch ConfigMaps, and nothing more", () => {
    const path = "test/deploy/any-deployment/k8s-source";
    expect(podOf(path, "shop")).toMatchObject({
      serviceAccountName: "pannier",
      automountServiceAccountToken: true,
    });
    expect(podOf(path, "other")).toEqual({ containers: [{ name: "other", image: "other" }] });
    expect(documentOf(path, "Role")).toMatchObject({
      rules: [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] }],
    });
    expect(documentOf(path, "RoleBinding")).toMatchObject({
      roleRef: { kind: "Role", name: "pannier-sources" },
      subjects: [{ kind: "ServiceAccount", name: "pannier", namespace: "shop" }],
    });
    expect(documentOf(path, "ServiceAccount")).toMatchObject({ metadata: { name: "pannier" } });
    expect(documentOf(path, "ClusterRole")).toBeUndefined();
  });

  test("the network policy lets sources of both address families through, and no metadata service", () => {
    const { spec } = documentOf(
      "examples/static-site/kubernetes/native",
      "NetworkPolicy",
    ) as Policy;
    const blocks = spec.egress.flatMap(({ to }) => to.flatMap(({ ipBlock }) => ipBlock ?? []));
    expect(blocks.map(({ cidr }) => cidr)).toEqual(["0.0.0.0/0", "::/0"]);
    const closed = new BlockList();
    for (const range of blocks.flatMap(({ except }) => except)) {
      const [address, prefix] = range.split("/") as [string, string];
      closed.addSubnet(address, Number(prefix), isIPv6(address) ? "ipv6" : "ipv4");
    }
    expect(closed.check("169.254.169.254")).toBe(true);
    expect(closed.check("fd00:ec2::254", "ipv6")).toBe(true);
  });
});

describe.skipIf(missing)("a site from a share", { meta: { skipReason: missing ?? "" } }, () => {
  const EXAMPLE = "examples/share/kubernetes";

  test.each([
    ["smb", "smb", 445],
    ["nfs", "nfs", 2049],
    ["smb-mounted", "file", undefined],
    ["nfs-mounted", "file", undefined],
  ])("%s has a source of the adapter %s, and a way to it", async (example, adapter, port) => {
    const { SOURCE } = variablesOf(`${EXAMPLE}/${example}`);
    const [spec] = await resolveSources([SOURCE as string], { cwd: CHECKOUT });
    expect(spec).toMatchObject({ adapter: { name: adapter } });
    const { spec: policy } = documentOf(`${EXAMPLE}/${example}`, "NetworkPolicy") as Policy;
    const ports = policy.egress.flatMap((rule) => rule.ports.map((one) => one.port));
    expect(ports).toEqual([53, 53, 443, 22, ...(port === undefined ? [] : [port])]);
  });

  test("the password is a file of the Secret that the sidecar mounts", () => {
    const { PANNIER_PASSWORD_FILE } = variablesOf(`${EXAMPLE}/smb`);
    const { stringData } = documentOf(`${EXAMPLE}/smb`, "Secret", "pannier-credentials") as {
      stringData: Record<string, string>;
    };
    const { initContainers } = podOf(`${EXAMPLE}/smb`);
    const mount = initContainers[0]?.volumeMounts?.find(
      ({ name }) => name === "pannier-credentials",
    );
    expect(Object.keys(stringData).map((name) => `${mount?.mountPath}/${name}`)).toEqual([
      PANNIER_PASSWORD_FILE,
    ]);
  });

  test.each(["smb-mounted", "nfs-mounted"])("%s: a volume that only the sidecar has", (example) => {
    const path = `${EXAMPLE}/${example}`;
    const source = new URL(variablesOf(path)["SOURCE"] as string);
    expect(source.search).toBe("?mountpoint=true");
    const { initContainers, containers, volumes } = podOf(path);
    const [sidecar, ...others] = [...initContainers, ...containers];
    const mount = sidecar?.volumeMounts?.find(({ mountPath }) => mountPath === source.pathname);
    expect(mount?.readOnly).toBe(true);
    const used = others.flatMap((one) => one.volumeMounts?.map(({ name }) => name) ?? []);
    expect(used).not.toContain(mount?.name);
    const volume = volumes.find(({ name }) => name === mount?.name);
    const claim = documentOf(
      path,
      "PersistentVolumeClaim",
      volume?.persistentVolumeClaim?.claimName,
    ) as { spec: { volumeName: string } };
    expect(documentOf(path, "PersistentVolume", claim.spec.volumeName)).toMatchObject({
      spec: { mountOptions: expect.arrayContaining(["ro"]) },
    });
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

test("the image of all adapters that is published has all of them", async () => {
  const { jobs } = parse(
    await readFile(join(CHECKOUT, ".github/workflows/image.yaml"), "utf8"),
  ) as Workflow;
  const all = jobs.image.strategy.matrix.include.find(({ name }) => name === "all");
  expect(all?.adapters.split(" ").toSorted()).toEqual(BUILT_IN.map(({ name }) => name).toSorted());
});

/** A line for each document. */
function validate(text: string, version: string): string[] {
  const script = join(import.meta.dirname, "validate.py");
  const said = execFileSync("python3", [script, version, DEFINITIONS], {
    input: text,
    encoding: "utf8",
    env: { PATH: process.env["PATH"], PYTHONPATH: SCHEMAS },
  });
  return said.trim().split("\n");
}

function documentOf(path: string, kind: string, name?: string): unknown {
  const documents = parseAllDocuments(buildKustomization(path)).map(
    (one) => one.toJSON() as Document,
  );
  return documents.find(
    (one) => one.kind === kind && (name === undefined || one.metadata.name === name),
  );
}

/** What the sidecar gets as its environment. */
function variablesOf(path: string): Readonly<Record<string, string>> {
  const [sidecar] = podOf(path).initContainers;
  const secret = sidecar?.envFrom?.[0]?.secretRef.name;
  const { data } = documentOf(path, "Secret", secret) as Secret;
  return Object.fromEntries(
    Object.entries(data).map(([name, text]) => [name, Buffer.from(text, "base64").toString()]),
  );
}

function podOf(path: string, name?: string) {
  return (documentOf(path, "Deployment", name) as Deployment).spec.template.spec;
}
