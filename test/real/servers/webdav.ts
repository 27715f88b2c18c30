/** Apache's mod_dav and nginx with dav-ext, as WebDAV servers. */
import type { ChildProcess } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { makeCertificates, makeExpired } from "./certificates.ts";
import { nginxAround, nginxAuth, PASSWORD, USERNAME } from "./nginx.ts";
import { type Ground, listening, run } from "./process.ts";

export interface DavServer {
  readonly name: "apache" | "nginx";
  /** Below it: `/shallow/` (one level at a time), `/deep/` (all at once), `/basic/`, and with Apache `/digest/`, all of {@link DavServer.root}. */
  readonly plain: number;
  /** The same over TLS, for 127.0.0.1, by the authority in `ca`; and with a certificate that has expired. */
  readonly tls: number;
  readonly expired: number;
  readonly user: string;
  readonly password: string;
  readonly ca: string;
  readonly root: string;
  /** What {@link runDav} needs. */
  readonly dir: string;
  readonly program: string;
}

export function startApacheDav(ground: Ground, program: string): Promise<DavServer> {
  return start("apache", ground, program);
}

export function startNginxDav(ground: Ground, program: string): Promise<DavServer> {
  return start("nginx", ground, program);
}

async function start(name: DavServer["name"], ground: Ground, program: string): Promise<DavServer> {
  const dir = join(ground.base, `${name}-dav`);
  const root = join(ground.base, `${name}-dav-files`);
  await mkdir(dir);
  await mkdir(root);
  // Its workers are somebody else's.
  await mkdir(join(dir, "locks"));
  await chmod(join(dir, "locks"), 0o777);
  makeCertificates(dir);
  makeExpired(dir);
  const server = {
    name,
    user: USERNAME,
    password: PASSWORD,
    ca: join(dir, "ca.pem"),
    root,
    dir,
    program,
  };
  await setDavPassword(server, PASSWORD);
  const { child, ports } = await listening(name, 3, ([plain, tls, expired]) =>
    runDav(server, plain as number, tls as number, expired as number),
  );
  ground.children.push(child);
  const [plain, tls, expired] = ports as [number, number, number];
  return { ...server, plain, tls, expired };
}

/** Changes the password of the user; both servers read it again. */
export async function setDavPassword(
  { dir, user }: Pick<DavServer, "dir" | "user">,
  password: string,
): Promise<void> {
  const sha = createHash("sha1").update(password).digest("base64");
  await writeFile(join(dir, "htpasswd"), `${user}:{SHA}${sha}\n`);
  const digest = createHash("md5").update(`${user}:test:${password}`).digest("hex");
  await writeFile(join(dir, "htdigest"), `${user}:test:${digest}\n`);
}

/** Runs one more of the same on ports: what is to be killed or stopped in a test is the test's own. */
export async function runDav(
  { name, dir, root, program }: Pick<DavServer, "name" | "dir" | "root" | "program">,
  plain: number,
  tls?: number,
  expired?: number,
): Promise<ChildProcess> {
  const file = join(dir, `${plain}.conf`);
  if (name === "apache") {
    await writeFile(file, apacheConfig(dir, root, plain, tls, expired));
    return run(program, ["-D", "FOREGROUND", "-d", dir, "-f", file]);
  }
  await writeFile(file, nginxConfig(dir, root, plain, tls, expired));
  return run(program, ["-p", dir, "-e", join(dir, "error.log"), "-c", file]);
}

function apacheConfig(
  dir: string,
  root: string,
  plain: number,
  tls?: number,
  expired?: number,
): string {
  const modules = [
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "auth_digest",
    "alias",
    "dav",
    "dav_fs",
    "socache_shmcb",
    "ssl",
  ];
  const host = (port: number | undefined, certificate: string) =>
    port === undefined
      ? ""
      : `Listen 127.0.0.1:${port}
<VirtualHost 127.0.0.1:${port}>
  SSLEngine on
  SSLCertificateFile ${dir}/${certificate}.pem
  SSLCertificateKeyFile ${dir}/${certificate}.key
</VirtualHost>`;
  return `
ServerRoot ${dir}
ServerName 127.0.0.1
Listen 127.0.0.1:${plain}
PidFile ${dir}/apache-${plain}.pid
Mutex file:${dir} default
ErrorLog ${dir}/error.log
${modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`).join("\n")}
${userInfo().uid === 0 ? "User www-data\nGroup www-data" : ""}
DocumentRoot ${root}
AllowEncodedSlashes NoDecode
DavLockDB ${dir}/locks/${plain}
<Directory ${root}>
  Options FollowSymLinks
  Require all granted
</Directory>
${["shallow", "deep", "basic", "digest"].map((name) => `Alias /${name}/ ${root}/`).join("\n")}
<Location /shallow/>
  Dav On
</Location>
<Location /deep/>
  Dav On
  DavDepthInfinity On
</Location>
<Location /basic/>
  Dav On
  AuthType Basic
  AuthName test
  AuthUserFile ${dir}/htpasswd
  Require valid-user
</Location>
<Location /digest/>
  Dav On
  DavDepthInfinity On
  AuthType Digest
  AuthName test
  AuthDigestProvider file
  AuthUserFile ${dir}/htdigest
  Require valid-user
</Location>
${host(tls, "server")}
${host(expired, "expired")}
`;
}

function nginxConfig(
  dir: string,
  root: string,
  plain: number,
  tls?: number,
  expired?: number,
): string {
  const dav = "dav_ext_methods PROPFIND OPTIONS;";
  const locations = `
      root ${dir}/nowhere;
      location /shallow/ { alias ${root}/; ${dav} }
      location /deep/ { alias ${root}/; ${dav} }
      location /basic/ { alias ${root}/; ${dav} dav_methods PUT MKCOL; ${nginxAuth(dir)} }`;
  const host = (port: number | undefined, certificate: string) =>
    port === undefined
      ? ""
      : `server {
        listen 127.0.0.1:${port} ssl;
        ssl_certificate ${dir}/${certificate}.pem; ssl_certificate_key ${dir}/${certificate}.key;
        ${locations}
      }`;
  return `load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
    ${nginxAround(
      dir,
      `server { listen 127.0.0.1:${plain}; ${locations} } ${host(tls, "server")} ${host(expired, "expired")}`,
    ).replace("nginx.pid", `nginx-${plain}.pid`)}`;
}
