import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { nginxAround, nginxAuth, PASSWORD, runNginx, USERNAME } from "./nginx.ts";
import { type Ground, run, until } from "./process.ts";

/** git's own `http-backend`, behind an nginx. */
export interface GitServer {
  /** Smart HTTP of the bare repositories in `root`: `${url}/NAME.git`; `privateUrl` asks for the user and password. */
  readonly url: string;
  readonly privateUrl: string;
  readonly root: string;
  readonly username: string;
  readonly password: string;
  /** One JSON object a line for each request that was answered. */
  readonly accessLog: string;
}

export async function startGit(
  ground: Ground,
  nginx: string,
  fcgiwrap: string,
): Promise<GitServer> {
  const dir = join(ground.base, "git-http");
  const root = join(ground.base, "git");
  const socket = join(dir, "fcgiwrap.sock");
  await mkdir(dir);
  await mkdir(root);
  ground.children.push(run(fcgiwrap, ["-f", "-c", "4", "-s", `unix:${socket}`]));
  await until("fcgiwrap", async () => existsSync(socket));
  const execPath = execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim();
  const backend = fcgi(socket, root, join(execPath, "git-http-backend"));
  const [port] = await runNginx(ground, nginx, dir, 1, ([free]) =>
    nginxAround(
      dir,
      `
      server {
        listen 127.0.0.1:${free};
        location ~ ^/git(?<repository>/.*)$ { ${backend} }
        location ~ ^/git-private(?<repository>/.*)$ { ${nginxAuth(dir)} ${backend} }
      }`,
    ),
  );
  const url = `http://127.0.0.1:${port}`;
  return {
    url: `${url}/git`,
    privateUrl: `${url}/git-private`,
    root,
    username: USERNAME,
    password: PASSWORD,
    accessLog: join(dir, "access.log"),
  };
}

function fcgi(socket: string, root: string, backend: string): string {
  return `
        fastcgi_pass unix:${socket};
        fastcgi_buffering off;
        fastcgi_read_timeout 300s;
        fastcgi_param SCRIPT_FILENAME ${backend};
        fastcgi_param GIT_PROJECT_ROOT ${root};
        fastcgi_param GIT_HTTP_EXPORT_ALL "1";
        fastcgi_param GIT_PROTOCOL $http_git_protocol;
        fastcgi_param PATH_INFO $repository;
        fastcgi_param QUERY_STRING $query_string;
        fastcgi_param REQUEST_METHOD $request_method;
        fastcgi_param CONTENT_TYPE $content_type;
        fastcgi_param CONTENT_LENGTH $content_length;
        fastcgi_param REMOTE_USER $remote_user;
        fastcgi_param REMOTE_ADDR $remote_addr;
        fastcgi_param GIT_CONFIG_COUNT 2;
        fastcgi_param GIT_CONFIG_KEY_0 uploadpack.allowFilter;
        fastcgi_param GIT_CONFIG_VALUE_0 true;
        fastcgi_param GIT_CONFIG_KEY_1 uploadpack.allowAnySHA1InWant;
        fastcgi_param GIT_CONFIG_VALUE_1 true;`;
}
