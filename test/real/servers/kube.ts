/** A Kubernetes API server over an etcd of its own: no nodes, no controllers. What it stores, it stores as any cluster does. */
import { type ChildProcess, execFileSync } from "node:child_process";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { makeCertificates } from "./certificates.ts";
import { type Ground, listening, run, until } from "./process.ts";

export interface KubeServer {
  readonly port: number;
  /** Of its etcd, where a test compacts what the API server then calls gone (410). */
  readonly etcdPort: number;
  /** PEM file of the authority that signed its certificate. */
  readonly caFile: string;
  /** A certificate and key of that authority: the API server takes its common name for a user that may do nothing. */
  readonly clientCertFile: string;
  readonly clientKeyFile: string;
  /** May do everything. */
  readonly adminToken: string;
  /** Users that may do nothing but what a test binds them to: name → token. */
  readonly tokens: Readonly<Record<"reader" | "nobody", string>>;
  /** Of the administrator, for kubectl. */
  readonly kubeconfig: string;
}

const ADMIN = "admin-token-of-the-tests";
const TOKENS = { reader: "reader-token-of-the-tests", nobody: "nobody-token-of-the-tests" };

/** It is built without optimisation: seconds on an idle machine, and two minutes with thirty processes beside it on two cores. */
const KUBE_PATIENCE = 600_000;
/** Time-out of a test or hook that starts its own: until it listens, until it is ready, and for the rest. */
export const KUBE_START = 3 * KUBE_PATIENCE;

interface KubeProcesses extends KubeServer {
  readonly apiServer: ChildProcess;
  readonly etcd: ChildProcess;
  /** Starts the API server again, on the port that it had. */
  restart(): Promise<ChildProcess>;
}

interface KubeInit {
  /** Flags beside the usual ones: `--watch-cache=false`. */
  readonly flags?: readonly string[];
}

/** For all tests. One that stops or fills it starts its own. */
export async function startKube(ground: Ground, ...programs: string[]): Promise<KubeServer> {
  const { apiServer: _, etcd: __, restart: ___, ...server } = await startOwnKube(ground, programs);
  return server;
}

/** @param programs paths of kube-apiserver, etcd and openssl */
export async function startOwnKube(
  ground: Ground,
  [program, etcdProgram]: readonly string[],
  { flags = [] }: KubeInit = {},
): Promise<KubeProcesses> {
  const dir = await mkdtemp(join(ground.base, "kube-"));
  const file = (name: string) => join(dir, name);
  makeCertificates(dir);
  execFileSync("openssl", ["genrsa", "-out", file("accounts.key"), "2048"], { stdio: "pipe" });
  await writeFile(
    file("tokens.csv"),
    [
      `${ADMIN},admin,admin,"system:masters"`,
      ...Object.entries(TOKENS).map(([name, token]) => `${token},${name},${name}`),
    ].join("\n"),
  );

  const etcd = await listening("etcd", 2, async ([client, peer]) =>
    run(
      etcdProgram as string,
      [
        "--name=test",
        `--data-dir=${file("etcd")}`,
        `--listen-client-urls=http://127.0.0.1:${client}`,
        `--advertise-client-urls=http://127.0.0.1:${client}`,
        `--listen-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
        `--initial-cluster=test=http://127.0.0.1:${peer}`,
        // Nothing here outlives the test.
        "--unsafe-no-fsync",
        "--log-level=error",
      ],
      { env: { ETCD_UNSUPPORTED_ARCH: "" }, quiet: true },
    ),
  );
  ground.children.push(etcd.child);
  const etcdPort = etcd.ports[0] as number;

  const start = (port: number) =>
    run(
      program as string,
      [
        `--etcd-servers=http://127.0.0.1:${etcdPort}`,
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        // It would name itself in the service `kubernetes`, which may not be on the loopback.
        "--endpoint-reconciler-type=none",
        `--secure-port=${port}`,
        `--cert-dir=${dir}`,
        `--tls-cert-file=${file("server.pem")}`,
        `--tls-private-key-file=${file("server.key")}`,
        `--client-ca-file=${file("ca.pem")}`,
        `--token-auth-file=${file("tokens.csv")}`,
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${file("accounts.key")}`,
        `--service-account-signing-key-file=${file("accounts.key")}`,
        "--service-cluster-ip-range=10.96.0.0/16",
        "--allow-privileged=true",
        "--profiling=false",
        "-v=0",
        ...flags,
      ],
      { quiet: true },
    );
  const api = await listening(
    "kube-apiserver",
    1,
    async ([port]) => start(port as number),
    KUBE_PATIENCE,
  );
  ground.children.push(api.child);
  const port = api.ports[0] as number;
  const ca = await readFile(file("ca.pem"));
  const ready = () =>
    until(
      "kube-apiserver",
      async () => (await kubeRequest(port, ca, "/readyz")) === 200,
      KUBE_PATIENCE,
    );
  await ready();

  const kubeconfig = file("kubeconfig");
  await writeFile(
    kubeconfig,
    `apiVersion: v1
kind: Config
current-context: test
clusters:
  - name: test
    cluster: { server: "https://127.0.0.1:${port}", certificate-authority: ${file("ca.pem")} }
users:
  - name: admin
    user: { token: ${ADMIN} }
contexts:
  - name: test
    context: { cluster: test, user: admin, namespace: default }
`,
  );
  return {
    port,
    etcdPort,
    caFile: file("ca.pem"),
    clientCertFile: file("client.pem"),
    clientKeyFile: file("client.key"),
    adminToken: ADMIN,
    tokens: TOKENS,
    kubeconfig,
    apiServer: api.child,
    etcd: etcd.child,
    async restart() {
      const child = start(port);
      ground.children.push(child);
      await ready();
      return child;
    },
  };
}

/** @returns the status, or 0 where it does not answer */
function kubeRequest(port: number, ca: Buffer, path: string): Promise<number> {
  return new Promise((resolve) => {
    const asked = request(
      {
        host: "127.0.0.1",
        port,
        ca,
        path,
        agent: false,
        headers: { authorization: `Bearer ${ADMIN}` },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    asked.on("error", () => resolve(0));
    asked.end();
  });
}

/** Asks the API server as its administrator. @throws Error with what it answered, unless that is a 2xx */
export async function kube(
  { port, caFile, adminToken }: Pick<KubeServer, "port" | "caFile" | "adminToken">,
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE",
  path: string,
  body?: unknown,
  { token = adminToken, type = "application/json" }: { token?: string; type?: string } = {},
): Promise<unknown> {
  const ca = await readFile(caFile);
  const { status, answer } = await new Promise<{ status: number; answer: string }>(
    (resolve, reject) => {
      const asked = request(
        {
          host: "127.0.0.1",
          port,
          ca,
          method,
          path,
          agent: false,
          headers: {
            authorization: `Bearer ${token}`,
            "content-type": method === "PATCH" ? "application/merge-patch+json" : type,
          },
        },
        (response) => {
          const { statusCode: code = 0 } = response;
          readText(response).then((read) => resolve({ status: code, answer: read }), reject);
        },
      );
      asked.on("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    },
  );
  if (status < 200 || status > 299) throw new Error(`${method} ${path}: ${status} ${answer}`);
  return answer === "" ? undefined : JSON.parse(answer);
}
