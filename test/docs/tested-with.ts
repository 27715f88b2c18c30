/** The table of servers in docs/tested-with.md, from what `test/real/run` installs. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./pages.ts";

/** Source → the packages with its servers. */
const SERVERS: Readonly<Record<string, readonly string[]>> = {
  git: ["git", "nginx", "fcgiwrap", "openssh-server"],
  HTTP: [
    "nginx",
    "libnginx-mod-http-fancyindex",
    "apache2",
    "lighttpd",
    "caddy",
    "jetty9",
    "tomcat10-common",
    "python3",
    "http-server",
    "serve-index",
  ],
  WebDAV: ["apache2", "libnginx-mod-http-dav-ext", "rclone"],
  S3: ["versitygw", "rclone"],
  "Google Cloud Storage": ["fake-gcs-server"],
  "Azure Blob Storage": ["azurite"],
  SFTP: ["openssh-server", "asyncssh"],
  FTP: ["vsftpd", "proftpd-core", "pyftpdlib"],
  SMB: ["samba", "winbind", "krb5-kdc"],
  NFS: ["nfs-ganesha", "rpcbind", "rclone"],
  "OCI registries": ["registry", "crane", "oras", "buildah", "podman", "skopeo"],
  Kubernetes: ["kube-apiserver", "etcd-server"],
};

/** Names of Go programs that say too little. */
const NAMES: Readonly<Record<string, string>> = {
  registry: "distribution",
  crane: "crane registry",
};

/** Package → its version, where `test/real/run` pins it; `undefined` for those of Debian. */
function installedPackages(script: string): Map<string, string | undefined> {
  const found = new Map<string, string | undefined>();
  const code = script.replaceAll(/^\s*#.*$/gm, "");
  for (const [, name = "", version] of code.matchAll(/\[([\w-]+)\]=\S+@v([\d.]+)/g))
    found.set(name, version);
  for (const [, name = "", version] of code.matchAll(/[\s="]([a-z][a-z-]*)@(\d[\d.]*)/g))
    found.set(name, version);
  for (const [, name = "", version] of code.matchAll(/\s([a-z]+)==([\d.]+)/g))
    found.set(name, version);
  const debian = /declare -A packages=\(([^]*?)\n\)/.exec(code)?.[1] ?? "";
  for (const [, name = ""] of debian.matchAll(/\]=([\w.-]+)/g)) found.set(name, undefined);
  const unpacked = /packages=\((proftpd[^)]*)\)/.exec(code)?.[1] ?? "";
  for (const name of unpacked.split(" ")) found.set(name, undefined);
  return found;
}

function debianVersion(name: string): string | undefined {
  try {
    const args = ["-W", "-f", "${Version}", name];
    const version = execFileSync("dpkg-query", args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return /^(?:\d+:)?(\d[\w.]*)/.exec(version)?.[1];
  } catch {
    return undefined;
  }
}

export function serversTable(versionOf = debianVersion): string {
  const packages = installedPackages(readFileSync(join(ROOT, "test/real/run"), "utf8"));
  const rows = Object.entries(SERVERS).map(([source, names]) => {
    const told = names.map((name) => {
      if (!packages.has(name)) throw new Error(`test/real/run does not install ${name}`);
      const version = packages.get(name) ?? versionOf(name);
      return [NAMES[name] ?? name, version].filter((part) => part !== undefined).join(" ");
    });
    return `| ${source} | ${told.join(", ")} |`;
  });
  return ["| source | servers |", "| --- | --- |", ...rows, ""].join("\n");
}
