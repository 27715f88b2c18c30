/**
 * Real servers for the tests of this folder, on 127.0.0.1 and free ports, below one temporary directory.
 * What is not installed is left out and named in `missing`; the tests that need it are skipped by name.
 *
 * By hand: `npx node test/real/servers/start.ts [NAME...]` prints the addresses as JSON and serves until it is interrupted.
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { type ApacheServer, startApache } from "./apache.ts";
import { type AzureServer, startAzure } from "./azure.ts";
import { type FtpServer, startProftpd, startVsftpd } from "./ftp.ts";
import { type GcsServer, startGcs } from "./gcs.ts";
import { type GitServer, startGit } from "./git.ts";
import {
  type IndexServer,
  missingJetty,
  missingServeIndex,
  missingTomcat,
  startCaddy,
  startFancyIndex,
  startHttpServer,
  startJetty,
  startLighttpd,
  startPython,
  startRcloneHttp,
  startServeIndex,
  startTomcat,
} from "./indexes.ts";
import { type KubeServer, startKube } from "./kube.ts";
import { type NginxServer, startNginx } from "./nginx.ts";
import { missingForNfs, type Nfs3Server, type NfsServer, startNfs, startNfs3 } from "./nfs.ts";
import { type OciRegistry, startCraneRegistry, startDistribution } from "./oci.ts";
import { type DavServer, startApacheDav, startNginxDav } from "./webdav.ts";
import { end, findProgram, type Ground } from "./process.ts";
import { cannotServeS3, type S3Server, startRclone, startVersity } from "./s3.ts";
import { type SftpPasswordServer, type SftpServer, startSftp, startSftpPasswords } from "./sftp.ts";
import { type SmbServer, startSmb } from "./smb.ts";
import { missingForDomain, prepareSmbDomain, type SmbDomainPlace } from "./smb-domain.ts";
import { type SmbRealm, startSmbRealm } from "./smb-realm.ts";
import { type SshServer, startSshd } from "./sshd.ts";

/** By the names that tests ask for them. */
export interface Servers {
  readonly nginx?: NginxServer | undefined;
  readonly git?: GitServer | undefined;
  readonly apache?: ApacheServer | undefined;
  readonly sshd?: SshServer | undefined;
  readonly sftp?: SftpServer | undefined;
  readonly vsftpd?: FtpServer | undefined;
  readonly proftpd?: FtpServer | undefined;
  readonly apacheDav?: DavServer | undefined;
  readonly nginxDav?: DavServer | undefined;
  readonly nfs?: NfsServer | undefined;
  readonly nfs3?: Nfs3Server | undefined;
  readonly sftpPasswords?: SftpPasswordServer | undefined;
  readonly smb?: SmbServer | undefined;
  readonly smbRealm?: SmbRealm | undefined;
  /** Started by the test. */
  readonly smbDomain?: SmbDomainPlace | undefined;
  readonly gcs?: GcsServer | undefined;
  readonly azure?: AzureServer | undefined;
  readonly versity?: S3Server | undefined;
  readonly rclone?: S3Server | undefined;
  readonly python?: IndexServer | undefined;
  readonly lighttpd?: IndexServer | undefined;
  readonly caddy?: IndexServer | undefined;
  readonly rcloneHttp?: IndexServer | undefined;
  readonly serveIndex?: IndexServer | undefined;
  readonly httpServer?: IndexServer | undefined;
  readonly jetty?: IndexServer | undefined;
  readonly tomcat?: IndexServer | undefined;
  readonly fancyIndex?: IndexServer | undefined;
  readonly distribution?: OciRegistry | undefined;
  readonly craneRegistry?: OciRegistry | undefined;
  readonly kube?: KubeServer | undefined;
  /** Server → why it is not there. */
  readonly missing: Readonly<Record<string, string>>;
}

export type ServerName = Exclude<keyof Servers, "missing">;

interface Starter<Server> {
  /** The programs that must be installed; `start` gets their paths, in this order. */
  readonly programs: readonly string[];
  /** Why it can only be started by root, where that is so. */
  readonly asRoot?: string;
  /** Why the programs installed will not do, where they come in versions that will not. */
  readonly unfit?: (...programs: string[]) => Promise<string | undefined>;
  readonly start: (ground: Ground, ...programs: string[]) => Promise<Server>;
}

/** A new server is a file beside this one, a line here and in {@link Servers}, and its package in `../run`. */
const STARTERS: { readonly [Name in ServerName]: Starter<NonNullable<Servers[Name]>> } = {
  nginx: { programs: ["nginx", "openssl"], start: startNginx },
  git: { programs: ["nginx", "fcgiwrap", "git"], start: startGit },
  apache: { programs: ["apache2"], start: startApache },
  sshd: { programs: ["sshd", "ssh-keygen"], start: startSshd },
  sftp: { programs: ["sshd", "ssh-keygen"], start: startSftp },
  vsftpd: { programs: ["vsftpd", "openssl"], start: startVsftpd },
  proftpd: { programs: ["proftpd", "openssl"], start: startProftpd },
  apacheDav: { programs: ["apache2", "openssl"], start: startApacheDav },
  nginxDav: { programs: ["nginx", "openssl"], start: startNginxDav },
  sftpPasswords: {
    programs: ["sshd", "ssh-keygen", "openssl", "unshare"],
    asRoot: "its users are in a mount namespace of its own",
    start: startSftpPasswords,
  },
  nfs: {
    programs: ["ganesha.nfsd"],
    unfit: async () => missingForNfs(),
    asRoot: "it opens files by their handles",
    start: startNfs,
  },
  nfs3: {
    programs: ["ganesha.nfsd", "rpcbind", "unshare", "ip", "mount"],
    unfit: async () => missingForNfs(),
    asRoot: "its portmapper is in a network namespace of its own",
    start: startNfs3,
  },
  smb: {
    // The last for what it comes with: libsmbclient, which the adapter needs.
    programs: ["smbd", "smbpasswd", "smbclient"],
    asRoot: "smbd becomes the user who signs in",
    start: startSmb,
  },
  smbRealm: {
    programs: [
      "smbd",
      "smbpasswd",
      "krb5kdc",
      "kdb5_util",
      "kadmin.local",
      "kinit",
      "unshare",
      "ip",
    ],
    asRoot: "it has a network namespace of its own, where port 445 is free",
    start: startSmbRealm,
  },
  smbDomain: {
    programs: [
      "samba",
      "samba-tool",
      "net",
      "winbindd",
      "smbd",
      "kinit",
      "wbinfo",
      "unshare",
      "ip",
    ],
    unfit: async () => missingForDomain(),
    asRoot: "it has a network namespace of its own, where its ports are free",
    start: prepareSmbDomain,
  },
  distribution: { programs: ["registry"], start: startDistribution },
  craneRegistry: { programs: ["crane"], start: startCraneRegistry },
  kube: { programs: ["kube-apiserver", "etcd", "openssl"], start: startKube },
  gcs: { programs: ["fake-gcs-server"], start: startGcs },
  azure: { programs: ["azurite-blob"], start: startAzure },
  versity: { programs: ["versitygw"], start: startVersity },
  rclone: { programs: ["rclone"], unfit: cannotServeS3, start: startRclone },
  python: { programs: ["python3"], start: startPython },
  lighttpd: { programs: ["lighttpd"], start: startLighttpd },
  caddy: { programs: ["caddy"], start: startCaddy },
  rcloneHttp: { programs: ["rclone"], start: startRcloneHttp },
  serveIndex: { programs: ["node"], unfit: missingServeIndex, start: startServeIndex },
  httpServer: { programs: ["http-server"], start: startHttpServer },
  jetty: { programs: ["java"], unfit: missingJetty, start: startJetty },
  tomcat: { programs: ["java"], unfit: missingTomcat, start: startTomcat },
  fancyIndex: {
    programs: ["nginx", "/usr/lib/nginx/modules/ngx_http_fancyindex_module.so"],
    start: startFancyIndex,
  },
};

export interface RunningServers {
  readonly servers: Servers;
  stop(): Promise<void>;
}

/** Starts the servers named, or all; those whose programs are not installed are left out. */
export async function startServers(
  names: readonly ServerName[] = Object.keys(STARTERS) as ServerName[],
): Promise<RunningServers> {
  const ground: Ground = { base: await mkdtemp(join(tmpdir(), "pannier-real-")), children: [] };
  // Some servers' workers have a user of their own.
  await chmod(ground.base, 0o755);
  const servers: Record<string, unknown> = {};
  const missing: Record<string, string> = {};

  const stop = async (): Promise<void> => {
    await Promise.all(ground.children.map(end));
    await rm(ground.base, { recursive: true, force: true });
  };

  const start = async (name: ServerName): Promise<void> => {
    const { programs, asRoot, unfit, start: startOne } = STARTERS[name] as Starter<unknown>;
    const found = programs.map(findProgram);
    const paths = found.filter((path) => path !== undefined);
    const absent = programs.filter((_, index) => found[index] === undefined);
    const reason =
      asRoot !== undefined && userInfo().uid !== 0
        ? `needs root: ${asRoot}`
        : absent.length > 0
          ? `${absent.join(" and ")} not installed: test/real/run installs what is missing`
          : await unfit?.(...paths);
    if (reason === undefined) servers[name] = await startOne(ground, ...paths);
    else missing[name] = reason;
  };

  const starting = await Promise.allSettled(names.map(start));
  const failed = starting.find((result) => result.status === "rejected");
  if (failed === undefined) return { servers: { ...servers, missing }, stop };
  await stop();
  throw failed.reason;
}

if (import.meta.main) {
  const names = process.argv.slice(2) as ServerName[];
  const { servers, stop } = await startServers(names.length > 0 ? names : undefined);
  console.log(JSON.stringify(servers, undefined, 2));
  await new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve()).once("SIGTERM", () => resolve());
  });
  await stop();
}
