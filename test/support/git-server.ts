/** Git repositories for tests, and a smart-HTTP server around `git http-backend` to serve them. */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The installed git's version; `undefined` where there is none: tests that need it are skipped. */
export const gitVersion: string | undefined = (() => {
  try {
    return /[\d.]+/.exec(execFileSync("git", ["--version"], { encoding: "utf8" }))?.[0];
  } catch {
    return undefined;
  }
})();

/** Nothing of the machine's configuration, and the same author and date everywhere. */
const gitEnv: NodeJS.ProcessEnv = {
  PATH: process.env["PATH"],
  HOME: "/dev/null",
  LC_ALL: "C",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Ada",
  GIT_AUTHOR_EMAIL: "ada@example.com",
  GIT_AUTHOR_DATE: "1700000000 +0000",
  GIT_COMMITTER_NAME: "Ada",
  GIT_COMMITTER_EMAIL: "ada@example.com",
  GIT_COMMITTER_DATE: "1700000000 +0000",
};

/** What a path holds in a commit; `undefined` takes it away. */
export type Content =
  | string
  | Uint8Array
  | { readonly executable: string | Uint8Array }
  | { readonly symlink: string }
  | { readonly submodule: string };

export interface TestRepository {
  /** A bare repository. */
  readonly dir: string;
  /** Runs git on it, and returns what it prints without the last line feed. */
  git(...args: readonly string[]): Promise<string>;
  /**
   * Adds a commit to a branch (default `main`) with these paths changed, and returns its SHA.
   *
   * @param options `time` in seconds since the epoch; `orphan` starts the branch again
   */
  commit(
    files: Readonly<Record<string, Content | undefined>>,
    options?: { branch?: string; time?: number; orphan?: boolean },
  ): Promise<string>;
  /** Writes an object of any content, however wrong, and returns its id. */
  object(type: "blob" | "tree" | "commit", content: Uint8Array): Promise<string>;
}

/** Objects go to packs as they are made, so that what is served needs not be compressed again. */
const CONFIG = `[core]
  repositoryformatversion = 0
  bare = true
[pack]
  compression = 1
[fastimport]
  unpackLimit = 1
`;

/** Makes a bare repository by plumbing: no work tree, so every name that a tree can hold works. */
export async function makeRepository(dir: string): Promise<TestRepository> {
  // What `git init --bare` makes, without starting it.
  await mkdir(join(dir, "objects"), { recursive: true });
  await mkdir(join(dir, "refs/heads"), { recursive: true });
  await writeFile(join(dir, "HEAD"), "ref: refs/heads/main\n");
  await writeFile(join(dir, "config"), CONFIG);
  const call = async (args: readonly string[], input?: string | Uint8Array): Promise<string> => {
    const child = run("git", ["-C", dir, ...args], { env: gitEnv, maxBuffer: 1 << 28 });
    child.child.stdin?.on("error", () => {}).end(input); // What git says of it comes below.
    return (await child).stdout.replace(/\n$/, "");
  };
  return {
    dir,
    git: (...args) => call(args),
    object: (type, content) =>
      call(["hash-object", "-w", "--literally", "--stdin", "-t", type], content),
    async commit(files, { branch = "main", time, orphan = false } = {}) {
      const ref = `refs/heads/${branch}`;
      const parent = orphan ? "" : await readFile(join(dir, ref), "utf8").catch(() => "");
      // fast-import takes any name and any number of files in one process.
      const stamp = time === undefined ? "1700000000" : String(time);
      const lines: (string | Uint8Array)[] = [
        ...(orphan ? [`reset ${ref}\n`] : []),
        `commit ${ref}\nmark :1\ncommitter Ada <ada@example.com> ${stamp} +0000\ndata 6\nchange\n`,
        ...(parent === "" ? [] : [`from ${parent.trim()}\n`]),
      ];
      for (const [path, content] of Object.entries(files)) {
        const quoted = `"${path.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
        if (content === undefined) {
          lines.push(`D ${quoted}\n`);
          continue;
        }
        if (typeof content === "object" && "submodule" in content) {
          lines.push(`M 160000 ${content.submodule} ${quoted}\n`);
          continue;
        }
        const [mode, data] =
          typeof content === "string" || content instanceof Uint8Array
            ? ["100644", content]
            : "symlink" in content
              ? ["120000", content.symlink]
              : ["100755", content.executable];
        const bytes = Buffer.from(data as string);
        lines.push(`M ${mode} inline ${quoted}\ndata ${bytes.length}\n`, bytes, "\n");
      }
      lines.push("get-mark :1\n");
      const input = Buffer.concat(lines.map((line) => Buffer.from(line as string)));
      return call(["fast-import", "--quiet", "--force"], input);
    },
  };
}

/** One request that a server got. */
interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
}

export interface GitServer {
  /** `http://127.0.0.1:PORT`, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Where repositories are: `ROOT/x.git` is served as `URL/x.git`. */
  readonly root: string;
  /** Everything that was asked for, in order. */
  readonly requests: SeenRequest[];
  repository(name: string): Promise<TestRepository>;
  /** Looks at a request before git does; returns true where it answered itself. */
  intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  /** `Authorization` values that may read; undefined: no password is asked for. */
  allowed: readonly string[] | undefined;
  /** False: the server speaks git's original protocol, as an old one would. */
  protocol2: boolean;
  close(): Promise<void>;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function startGitServer(): Promise<GitServer> {
  const root = await mkdtemp(join(tmpdir(), "pannier-git-server-"));
  const children = new Set<ChildProcess>();
  const requests: SeenRequest[] = [];

  const http = createServer((request, response) => {
    const { method = "", url = "", headers } = request;
    requests.push({ method, url, headers });
    if (server.intercept?.(request, response) === true) return;
    const { allowed } = server;
    if (allowed !== undefined && !allowed.includes(headers.authorization ?? "")) {
      request.resume();
      response.writeHead(401, { "www-authenticate": 'Basic realm="git"' }).end();
      return;
    }
    const child = spawn("git", ["http-backend"], {
      env: cgiEnvironment(root, request, server.protocol2),
    });
    children.add(child);
    child.once("close", () => children.delete(child));
    // The client gave up: so does git.
    response.once("close", () => child.kill());
    child.stdin.on("error", () => {});
    request.pipe(child.stdin);
    answer(child, response);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const { port } = http.address() as AddressInfo;

  const server: GitServer = {
    url: `http://127.0.0.1:${port}`,
    port,
    root,
    requests,
    intercept: undefined,
    allowed: undefined,
    protocol2: true,
    repository: (name) => makeRepository(join(root, name)),
    async close() {
      http.closeAllConnections();
      for (const child of children) child.kill("SIGKILL");
      await new Promise((resolve) => http.close(resolve));
      await rm(root, { recursive: true, force: true });
    },
  };
  return server;
}

/** RFC 3875, and https://git-scm.com/docs/git-http-backend#_environment */
function cgiEnvironment(
  root: string,
  request: IncomingMessage,
  protocol2: boolean,
): NodeJS.ProcessEnv {
  const url = new URL(request.url ?? "/", "http://localhost");
  return {
    ...gitEnv,
    GIT_PROJECT_ROOT: root,
    GIT_HTTP_EXPORT_ALL: "1",
    GIT_PROTOCOL: protocol2 ? String(request.headers["git-protocol"] ?? "") : "",
    PATH_INFO: decodeURIComponent(url.pathname),
    QUERY_STRING: url.search.slice(1),
    REQUEST_METHOD: request.method,
    CONTENT_TYPE: request.headers["content-type"] ?? "",
    CONTENT_LENGTH: request.headers["content-length"] ?? "",
    HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
    REMOTE_ADDR: "127.0.0.1",
  };
}

/** Turns the headers that a CGI program prints into an answer, and passes the rest on. */
function answer(child: ChildProcess, response: ServerResponse): void {
  let head = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end === -1) return;
    child.stdout?.off("data", onData).pause();
    let status = 200;
    for (const line of head.toString("latin1", 0, end).split("\r\n")) {
      const colon = line.indexOf(":");
      const name = line.slice(0, colon);
      const value = line.slice(colon + 1).trim();
      if (name.toLowerCase() === "status") status = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.statusCode = status;
    response.write(head.subarray(end + 4));
    child.stdout?.pipe(response);
  };
  child.stdout?.on("data", onData);
  child.stdout?.once("end", () => {
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
}
