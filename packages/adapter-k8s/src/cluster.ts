/** Where the API server is, and what to sign in with. */
import { access, constants, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Credentials, readToken, UsageError } from "@pannier/core/adapter";
import { type Authorize, type Environment, readTlsFiles } from "@pannier/http-client";
import { type Cluster, readKubeconfig } from "./kubeconfig.ts";

/** What the kubelet mounts into a pod: https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface ClusterInit {
  /** Option of the URL. */
  readonly kubeconfig: string | undefined;
  readonly context: string | undefined;
  readonly credentials: Credentials;
  readonly env: Environment;
  /** Directory of a pod's token, CA and namespace. */
  readonly serviceAccount?: string | undefined;
}

/** @throws UsageError where no cluster is known */
export async function findCluster(init: ClusterInit): Promise<Cluster> {
  const found = await locate(init);
  const { caFile, clientCertFile, clientKeyFile, tokenFile } = init.credentials;
  if (init.credentials.password !== undefined || init.credentials.passwordFile !== undefined) {
    throw new UsageError("Kubernetes takes no password", "give a token in credentials.tokenFile");
  }
  // What the user gives to Pannier counts before what was found.
  const cluster: Cluster = {
    ...found,
    tls: {
      ...found.tls,
      ...(caFile !== undefined && { ca: undefined }),
      ...(clientCertFile !== undefined && { cert: undefined, key: undefined }),
    },
    credentials: {
      ...found.credentials,
      ...(caFile !== undefined && { caFile }),
      ...(clientCertFile !== undefined && { clientCertFile, clientKeyFile }),
    },
    tokenFile: tokenFile ?? found.tokenFile,
  };
  const signsIn = cluster.tokenFile !== undefined || cluster.token !== undefined;
  const { hostname, protocol } = cluster.server;
  if (signsIn && protocol === "http:" && !/^(localhost|127\..*|\[::1\])$/.test(hostname)) {
    throw new UsageError(
      "a token is not sent over plain http",
      "use https in the kubeconfig's server",
    );
  }
  await readTlsFiles(cluster.credentials);
  return cluster;
}

async function locate({ kubeconfig, context, env, serviceAccount }: ClusterInit): Promise<Cluster> {
  if (kubeconfig !== undefined) return readKubeconfig([kubeconfig], context);
  const listed = (env["KUBECONFIG"] ?? "").split(":").filter((path) => path !== "");
  if (listed.length > 0) return readKubeconfig(listed, context);
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env;
  if (host && context === undefined) return inCluster(host, port || "443", serviceAccount);
  if (env["HOME"]) {
    const path = join(env["HOME"], ".kube/config");
    const isReadable = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    );
    if (isReadable) return readKubeconfig([path], context);
  }
  throw new UsageError(
    "no cluster is known: this is no pod, and there is no kubeconfig",
    "set KUBECONFIG, or the option kubeconfig",
  );
}

async function inCluster(
  host: string,
  port: string,
  directory = SERVICE_ACCOUNT,
): Promise<Cluster> {
  const namespace = await readFile(join(directory, "namespace"), "utf8").catch(() => "default");
  const tokenFile = join(directory, "token");
  await readToken(tokenFile, "service account's token file").catch((error: unknown) => {
    throw new UsageError(
      "the pod has no service account token",
      "give it a service account, and leave automountServiceAccountToken on",
      { cause: error },
    );
  });
  return {
    server: new URL(`https://${host.includes(":") ? `[${host}]` : host}:${port}`),
    tls: {},
    credentials: { caFile: join(directory, "ca.crt") },
    tokenFile,
    token: undefined,
    namespace: namespace.trim(),
    words: "the service account of this pod",
  };
}

/** Only for the cluster's own server: what it redirects to elsewhere gets nothing. */
export function signerFor({ server, tokenFile, token }: Cluster): Authorize {
  return async (url) => {
    if (url.origin !== server.origin) return {};
    const secret = tokenFile === undefined ? token : await readToken(tokenFile, "token file");
    return secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  };
}
