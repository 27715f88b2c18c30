import { mkdir, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { makeCertificates } from "./certificates.ts";
import { type Ground, listening, run } from "./process.ts";

export interface NginxServer {
  /** `http://127.0.0.1:PORT`. Below it: `/files`, `/html`, `/json`, `/private`, `/slow`, `/norange` all serve `root`. */
  readonly http: string;
  /** The same over TLS; the certificate is for 127.0.0.1 and signed by the authority in `ca`. */
  readonly https: string;
  /** The same over TLS, for clients with a certificate. */
  readonly clientTls: string;
  readonly root: string;
  readonly ca: string;
  readonly clientCert: string;
  readonly clientKey: string;
  /** What `/private` asks for. */
  readonly username: string;
  readonly password: string;
  /** One JSON object a line for each request that was answered. */
  readonly accessLog: string;
}

export const USERNAME = "reader";
export const PASSWORD = "correct-horse-battery";

export async function startNginx(ground: Ground, program: string): Promise<NginxServer> {
  const dir = join(ground.base, "nginx");
  const root = join(ground.base, "www");
  await mkdir(dir);
  await mkdir(root);
  makeCertificates(dir);
  const ports = await runNginx(ground, program, dir, 3, ([http, https, clientTls]) =>
    nginxConfig({
      dir,
      root,
      ports: { http: http as number, https: https as number, clientTls: clientTls as number },
    }),
  );
  const [http, https, clientTls] = ports;
  return {
    http: `http://127.0.0.1:${http}`,
    https: `https://127.0.0.1:${https}`,
    clientTls: `https://127.0.0.1:${clientTls}`,
    root,
    ca: join(dir, "ca.pem"),
    clientCert: join(dir, "client.pem"),
    clientKey: join(dir, "client.key"),
    username: USERNAME,
    password: PASSWORD,
    accessLog: join(dir, "access.log"),
  };
}

interface NginxSettings {
  /** Where nginx keeps everything of its own, with `htpasswd` and the certificates. */
  readonly dir: string;
  readonly root: string;
  readonly ports: { readonly http: number; readonly https: number; readonly clientTls: number };
}

function nginxConfig({ dir, root, ports }: NginxSettings): string {
  const tls = `ssl_certificate ${dir}/server.pem; ssl_certificate_key ${dir}/server.key;`;
  const locations = `
      root ${dir}/nowhere;
      location /files/ { alias ${root}/; }
      location /html/ { alias ${root}/; autoindex on; }
      location /json/ { alias ${root}/; autoindex on; autoindex_format json; }
      location /private/ { alias ${root}/; autoindex on; ${nginxAuth(dir)} }
      location /slow/ { alias ${root}/; limit_rate 64k; limit_rate_after 4k; }
      location /norange/ { alias ${root}/; max_ranges 0; }`;
  return nginxAround(
    dir,
    `
      server { listen 127.0.0.1:${ports.http}; ${locations} }
      server { listen 127.0.0.1:${ports.https} ssl; ${tls} ${locations} }
      server {
        listen 127.0.0.1:${ports.clientTls} ssl; ${tls}
        ssl_client_certificate ${dir}/ca.pem; ssl_verify_client on;
        ${locations}
      }`,
  );
}

/** What a location says that asks for {@link USERNAME} and {@link PASSWORD}. */
export function nginxAuth(dir: string): string {
  return `auth_basic "test"; auth_basic_user_file ${dir}/htpasswd;`;
}

/** Starts an nginx that keeps everything of its own in `dir`, on so many free ports. */
export async function runNginx(
  { children }: Ground,
  program: string,
  dir: string,
  count: number,
  configure: (ports: readonly number[]) => string,
): Promise<readonly number[]> {
  await writeFile(join(dir, "htpasswd"), `${USERNAME}:{PLAIN}${PASSWORD}\n`);
  const { child, ports } = await listening("nginx", count, async (free) => {
    await writeFile(join(dir, "nginx.conf"), configure(free));
    return run(program, ["-p", dir, "-e", join(dir, "error.log"), "-c", join(dir, "nginx.conf")]);
  });
  children.push(child);
  return ports;
}

/** The part of a configuration that every nginx here needs, around its servers. */
export function nginxAround(dir: string, servers: string): string {
  // As root its workers must be able to read what the tests write.
  const user = userInfo().uid === 0 ? `user ${userInfo().username};` : "";
  return `
    ${user}
    daemon off;
    worker_processes 2;
    pid ${dir}/nginx.pid;
    error_log ${dir}/error.log;
    events { worker_connections 512; }
    http {
      log_format requests escape=json '{"method":"$request_method","uri":"$request_uri","status":$status,"bytes":$body_bytes_sent,"range":"$http_range"}';
      access_log ${dir}/access.log requests;
      client_body_temp_path ${dir}/body;
      proxy_temp_path ${dir}/proxy;
      fastcgi_temp_path ${dir}/fastcgi;
      uwsgi_temp_path ${dir}/uwsgi;
      scgi_temp_path ${dir}/scgi;
      client_max_body_size 0;
      types { text/html html; application/json json; }
      default_type application/octet-stream;
      ${servers}
    }
  `;
}
