/** A kubeconfig: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type Credentials, UsageError } from "@pannier/core/adapter";
import type { TlsTexts } from "@pannier/http-client";

/** Where an API server is, and what to sign in with. */
export interface Cluster {
  /** Base URL, perhaps with a path. */
  readonly server: URL;
  readonly tls: TlsTexts;
  /** Files of the TLS connection. */
  readonly credentials: Credentials;
  /** Counts before {@link Cluster.token}, as in kubectl. Read again for each request: the kubelet renews a pod's token. */
  readonly tokenFile: string | undefined;
  readonly token: string | undefined;
  /** Where the URL names none. */
  readonly namespace: string;
  /** For `pannier doctor`. */
  readonly words: string;
}

interface Named {
  readonly name?: unknown;
}

type Fields = Readonly<Record<string, unknown>>;

/**
 * @param paths of the files, of which the first that names a cluster, user or context says what it is
 * @throws UsageError where it cannot be read, or asks for what is not supported
 */
export async function readKubeconfig(
  paths: readonly string[],
  wanted: string | undefined,
): Promise<Cluster> {
  const files = await readFiles(paths);
  const where = paths.join(":");
  const name =
    wanted ?? text(files.map(({ content }) => content["current-context"]).find((one) => one));
  if (name === undefined) {
    throw new UsageError(
      `the kubeconfig ${where} has no current context`,
      "name one with the option context",
    );
  }
  const find = (list: string, field: string, of: string) => {
    for (const { path, content } of files) {
      const all = Array.isArray(content[list]) ? (content[list] as Named[]) : [];
      const found = all.find((one) => one?.name === of);
      if (found !== undefined) return { path, fields: fieldsOf((found as Fields)[field]) };
    }
    throw new UsageError(`the kubeconfig ${where} has no ${field} "${of}"`);
  };
  const context = find("contexts", "context", name).fields;
  const cluster = find("clusters", "cluster", text(context["cluster"]) ?? "");
  const userName = text(context["user"]);
  const user =
    userName === undefined ? { path: where, fields: {} } : find("users", "user", userName);
  const refuse = (what: string, hint: string) =>
    new UsageError(`the kubeconfig ${where}: context "${name}" ${what}`, hint);

  if (cluster.fields["insecure-skip-tls-verify"] === true) {
    throw refuse(
      "skips the check of the server's certificate",
      "give certificate-authority-data instead",
    );
  }
  checkUser(user.fields, refuse);
  const server = URL.parse(text(cluster.fields["server"]) ?? "");
  if (server === null || !/^https?:$/.test(server.protocol)) {
    throw refuse("has no server", "write https://HOST:PORT");
  }
  const proxy = text(cluster.fields["proxy-url"]);
  if (proxy !== undefined) throw refuse("has a proxy-url", "set https_proxy instead");

  const beside = (path: string, file: unknown) =>
    text(file) === undefined ? undefined : resolve(dirname(path), text(file) as string);
  const own = (path: string, fields: Fields, field: string) => ({
    file: beside(path, fields[field]),
    // As kubectl does, data before a file.
    pem: decode(text(fields[`${field}-data`])),
  });
  const ca = own(cluster.path, cluster.fields, "certificate-authority");
  const cert = own(user.path, user.fields, "client-certificate");
  const key = own(user.path, user.fields, "client-key");
  const tls: TlsTexts = {
    ca: ca.pem,
    cert: cert.pem,
    key: key.pem,
    servername: text(cluster.fields["tls-server-name"]),
  };
  return {
    server,
    tls,
    credentials: {
      ...(ca.pem === undefined && ca.file !== undefined && { caFile: ca.file }),
      ...(cert.pem === undefined && cert.file !== undefined && { clientCertFile: cert.file }),
      ...(key.pem === undefined && key.file !== undefined && { clientKeyFile: key.file }),
    },
    tokenFile: beside(user.path, user.fields["tokenFile"]),
    token: text(user.fields["token"]),
    namespace: text(context["namespace"]) ?? "default",
    words: `context "${name}" of the kubeconfig ${where}`,
  };
}

async function readFiles(paths: readonly string[]) {
  const { parse } = await import("yaml");
  return Promise.all(
    paths.map(async (path) => {
      let yaml: string;
      try {
        yaml = await readFile(path, "utf8");
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        throw new UsageError(`the kubeconfig ${path} cannot be read (${code ?? "unknown"})`);
      }
      let content: unknown;
      try {
        content = parse(yaml);
      } catch {
        // Not the parser's words: they quote the line, which may hold a token.
        throw new UsageError(`the kubeconfig ${path} is not YAML`);
      }
      return { path, content: fieldsOf(content) };
    }),
  );
}

/** @throws UsageError for a way to sign in that is not supported */
function checkUser(fields: Fields, refuse: (what: string, hint: string) => UsageError): void {
  for (const plugin of ["exec", "auth-provider"]) {
    if (fields[plugin] !== undefined && fields[plugin] !== null) {
      throw refuse(
        `signs in by a program (${plugin}), which Pannier does not run`,
        "use a token (kubectl create token), or a kubeconfig with the server of kubectl proxy",
      );
    }
  }
  if (text(fields["username"]) !== undefined) {
    throw refuse("signs in with user and password", "Kubernetes has no such sign-in since 1.19");
  }
  if (Object.keys(fields).some((field) => field === "as" || field.startsWith("as-"))) {
    throw refuse("impersonates another user", "use that user's token");
  }
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {};
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function decode(base64: string | undefined): string | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, "base64").toString();
}
