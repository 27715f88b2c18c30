/** One page on a real server of each kind, for a container to keep up with. */
import { chmod, copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { Harness, SourceAddress } from "@pannier/adapter-kit";
import { sdkClient } from "../../packages/adapter-azure/test/sdk-client.ts";
import { createStore as createAzureStore } from "../../packages/adapter-azure/test/stores.ts";
import { apiClient } from "../../packages/adapter-gcs/test/api-client.ts";
import { createStore as createGcsStore } from "../../packages/adapter-gcs/test/stores.ts";
import { gzipLayer, putImage } from "../../packages/adapter-oci/test/images.ts";
import { sdkServer } from "../../packages/adapter-s3/test/sdk-client.ts";
import { startHub } from "../../packages/adapter-hf/test/hub.ts";
import { startForge } from "../../packages/adapter-release/test/forge.ts";
import { startApiServer } from "../../packages/adapter-k8s/test/api-server.ts";
import { kubeconfigFor } from "../../packages/adapter-k8s/test/stores.ts";
import { createStore as createS3Store } from "../../packages/adapter-s3/test/stores.ts";
import type { ServerName, Servers } from "../real/servers/start.ts";
import { makeRepository } from "../support/git-server.ts";
import { makeShare } from "../support/share.ts";

interface PageSource {
  readonly url: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly volumes?: Readonly<Record<string, string>>;
  /** Changes the text of `page`, or of another file where the source can hold several. */
  readonly write: (text: string, name?: string) => Promise<void>;
}

type Make = (servers: Servers, directory: string) => Promise<PageSource>;

/** Adapter → the server that its source is on, if it is on one. */
export const SOURCES: Readonly<
  Record<string, { readonly server?: ServerName; readonly make: Make }>
> = {
  git: { server: "git", make: ({ git }) => gitSource(present(git)) },
  http: { server: "nginx", make: ({ nginx }, directory) => httpSource(present(nginx), directory) },
  gcs: {
    server: "gcs",
    make: async ({ gcs }) =>
      fromStore(
        createGcsStore(() => apiClient(present(gcs).endpoint), { options: { anonymous: true } }),
      ),
  },
  azure: {
    server: "azure",
    make: async ({ azure }) => {
      const server = present(azure);
      return fromStore(
        createAzureStore(() => sdkClient(server), { credentials: { password: server.key } }),
      );
    },
  },
  s3: {
    server: "versity",
    make: async ({ versity }) => {
      const { port, keys } = present(versity);
      const source = await fromStore(createS3Store(() => sdkServer(port, keys), {}));
      const env = { AWS_ACCESS_KEY_ID: keys.id, AWS_SECRET_ACCESS_KEY: keys.secret };
      return { ...source, env: { ...env, AWS_EC2_METADATA_DISABLED: "true" } };
    },
  },
  file: {
    make: async (_, directory) => {
      await chmod(directory, 0o755);
      const source = await shareSource(directory, 0, (path) => ({ url: `file://${path}` }));
      return { ...source, volumes: { [directory]: `${directory}:ro` } };
    },
  },
  webdav: {
    server: "apacheDav",
    make: ({ apacheDav }) => {
      const { root, plain, user, password } = present(apacheDav);
      return shareSource(root, plain, (path) => ({
        url: `dav://127.0.0.1:${plain}/basic${path.slice(root.length)}/`,
        credentials: { username: user, password },
      }));
    },
  },
  smb: {
    server: "smb",
    make: ({ smb }) => {
      const { root, port, user, password } = present(smb);
      return shareSource(root, port, (path) => ({
        url: `smb://127.0.0.1:${port}/files${path.slice(root.length)}`,
        credentials: { username: user, password },
      }));
    },
  },
  nfs: {
    server: "nfs",
    make: ({ nfs }) => {
      const { root, port } = present(nfs);
      return shareSource(root, port, (path) => ({ url: `nfs://127.0.0.1:${port}${path}` }));
    },
  },
  ftp: {
    server: "vsftpd",
    make: ({ vsftpd }) => {
      const { root, plain, user, password } = present(vsftpd);
      return shareSource(root, plain, (path) => ({
        // From the machine's root, not from where the user is when signed in.
        url: `ftp://127.0.0.1:${plain}/%2F${path.slice(1)}`,
        credentials: { username: user, password },
      }));
    },
  },
  hf: {
    make: async () => {
      const hub = await startHub();
      const write = async (text: string) =>
        void hub.commit("models/org/image", new Map([["page", text]]));
      await write("");
      return { url: "hf://org/image", env: { HF_ENDPOINT: hub.endpoint }, write };
    },
  },
  release: {
    make: async () => {
      const forge = await startForge();
      let version = 0;
      const write = async (text: string) => {
        forge.releases = [{ tag: `v1.0.${++version}`, assets: { page: text } }];
      };
      await write("");
      return { url: `release+${forge.origin}/org/repo?api=gitea`, write };
    },
  },
  k8s: { make: async (_, directory) => kubernetesSource(directory) },
  oci: { server: "distribution", make: ({ distribution }) => ociSource(present(distribution)) },
  sftp: { server: "sftp", make: ({ sftp }, directory) => sftpSource(present(sftp), directory) },
  sqlite: { make: async (_, directory) => sqliteSource(directory) },
};

function present<Server>(server: Server | undefined): Server {
  if (server === undefined) throw new Error("the server is not there");
  return server;
}

async function ociSource({ port }: NonNullable<Servers["distribution"]>): Promise<PageSource> {
  const url = `oci+http://127.0.0.1:${port}/image/page-${process.pid}:live`;
  const write = async (text: string) =>
    void (await putImage(url, [await gzipLayer([{ name: "page", content: text }])]));
  await write("");
  return { url, write };
}

async function gitSource({ root, url }: NonNullable<Servers["git"]>): Promise<PageSource> {
  const repository = await makeRepository(join(root, `image-${process.pid}.git`));
  return {
    url: `git+${url}/image-${process.pid}.git`,
    write: async (text) => void (await repository.commit({ page: text })),
  };
}

async function httpSource(
  { root, http }: NonNullable<Servers["nginx"]>,
  directory: string,
): Promise<PageSource> {
  const name = directory.replaceAll("/", "-");
  await mkdir(join(root, name));
  await chmod(join(root, name), 0o755);
  return {
    url: `${http}/json/${name}/`,
    write: (text, file = "page") => writeFile(join(root, name, file), text),
  };
}

/** A directory that a server serves. */
async function shareSource(
  parent: string,
  port: number,
  address: (path: string) => SourceAddress,
): Promise<PageSource> {
  const server = { host: "127.0.0.1", port };
  return fromStore((files) => makeShare(files, { parent, server, address }));
}

/** With a key as a Secret mounts it: others than its owner may read it. */
async function sftpSource(
  { root, port, user, key, fingerprint }: NonNullable<Servers["sftp"]>,
  directory: string,
): Promise<PageSource> {
  const mounted = join(directory, "key");
  await copyFile(key, mounted);
  await chmod(directory, 0o755);
  await chmod(mounted, 0o644);
  const source = await shareSource(root, port, (path) => ({
    url: `sftp://${user}@127.0.0.1:${port}${path}`,
    options: { hostKey: fingerprint },
  }));
  return {
    ...source,
    env: { PANNIER_SSH_KEY_FILE: mounted },
    volumes: { [directory]: `${directory}:ro` },
  };
}

async function kubernetesSource(directory: string): Promise<PageSource> {
  const { port, put } = await startApiServer();
  await chmod(directory, 0o755);
  const kubeconfig = kubeconfigFor(port, { token: "token-of-the-image" });
  await copyFile(kubeconfig, join(directory, "kubeconfig"));
  return {
    url: `k8s://web/configmaps?kubeconfig=${directory}/kubeconfig`,
    // At the same place, so that a program outside finds it as well.
    volumes: { [directory]: `${directory}:ro` },
    write: async (page) =>
      void put("configmaps", { metadata: { namespace: "web", name: "page" }, data: { page } }),
  };
}

async function sqliteSource(directory: string): Promise<PageSource> {
  await chmod(directory, 0o755);
  const db = new DatabaseSync(join(directory, "site.db"));
  db.exec("CREATE TABLE files (path TEXT PRIMARY KEY, content BLOB, version INTEGER)");
  let version = 0;
  return {
    url: "sqlite:///source/site.db",
    volumes: { [directory]: "/source:ro" },
    write: async (text) =>
      void db.prepare("REPLACE INTO files VALUES ('page', ?, ?)").run(Buffer.from(text), ++version),
  };
}

/** As the conformance suite has it: settings as the program takes them. */
async function fromStore(create: Harness["create"]) {
  const store = await create(new Map());
  const { url, options = {}, credentials = {} } = store.source({});
  const query = new URLSearchParams(
    Object.entries(options).map(([name, value]) => [name, String(value)]),
  );
  const { username, password } = credentials;
  return {
    url: `${url}?${query}`,
    env: {
      ...(username === undefined ? {} : { PANNIER_USERNAME: username }),
      ...(password === undefined ? {} : { PANNIER_PASSWORD: password }),
    },
    write: (text: string, name = "page") =>
      store.change(new Map([[name, { kind: "file", content: Buffer.from(text) }]])),
  };
}
