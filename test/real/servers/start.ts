/**
 * Real servers for the tests of this folder, on 127.0.0.1 and free ports, below one temporary directory.
 * What is not installed is left out and named in `missing`; the tests that need it are skipped by name.
 *
 * By hand: `npx node test/real/servers/start.ts` prints the addresses as JSON and serves until it is interrupted.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { delimiter, join } from "node:path";

import { setTimeout as delay } from "node:timers/promises";
import { apacheConfig, nginxConfig, sshdConfig } from "./configs.ts";

interface NginxServer {
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
  /** What `/private` and `/git-private` ask for. */
  readonly username: string;
  readonly password: string;
  /** One JSON object a line for each request that was answered. */
  readonly accessLog: string;
}

interface GitServer {
  /** Smart HTTP of the bare repositories in `root`: `${url}/NAME.git`; `privateUrl` asks for nginx's user and password. */
  readonly url: string;
  readonly privateUrl: string;
  readonly tlsUrl: string;
  readonly root: string;
}

interface ApacheServer {
  /** Plain and fancy index pages of `root`. */
  readonly plain: string;
  readonly fancy: string;
  readonly root: string;
}

interface SshServer {
  readonly port: number;
  readonly user: string;
  /** A private key that may sign in, and one that may not. */
  readonly key: string;
  readonly strangerKey: string;
  readonly knownHosts: string;
}

export interface Servers {
  readonly nginx?: NginxServer | undefined;
  readonly git?: GitServer | undefined;
  readonly apache?: ApacheServer | undefined;
  readonly sshd?: SshServer | undefined;
  /** Server → why it is not there. */
  readonly missing: Readonly<Record<string, string>>;
}

export interface RunningServers {
  readonly servers: Servers;
  stop(): Promise<void>;
}

const USERNAME = "reader";
const PASSWORD = "correct-horse-battery";

export async function startServers(): Promise<RunningServers> {
  const base = await mkdtemp(join(tmpdir(), "pannier-real-"));
  // Apache's workers have a user of their own.
  await chmod(base, 0o755);
  const children: ChildProcess[] = [];
  const missing: Record<string, string> = {};

  const stop = async (): Promise<void> => {
    await Promise.all(children.map(end));
    await rm(base, { recursive: true, force: true });
  };

  /** Leaves a server out by name where its programs are not installed; any other failure is one. */
  const withPrograms = async <Server>(
    name: string,
    programs: readonly string[],
    start: (paths: string[]) => Promise<Server>,
  ): Promise<Server | undefined> => {
    const paths = programs.map(findProgram);
    const absent = programs.filter((_, index) => paths[index] === undefined);
    if (absent.length === 0) return start(paths as string[]);
    missing[name] = `${absent.join(" and ")} not installed: test/real/run installs what is missing`;
    return undefined;
  };

  try {
    const git = await withPrograms("git", ["nginx", "fcgiwrap", "git"], ([, fcgiwrap]) =>
      startGitBackend(base, fcgiwrap as string, children),
    );
    const nginx = await withPrograms("nginx", ["nginx", "openssl"], ([program]) =>
      startNginx(base, program as string, git, children),
    );
    const apache = await withPrograms("apache", ["apache2"], ([program]) =>
      startApache(base, program as string, children),
    );
    const sshd = await withPrograms("sshd", ["sshd", "ssh-keygen"], ([program]) =>
      startSshd(base, program as string, children),
    );
    const gitServer: GitServer | undefined =
      nginx && git
        ? {
            url: `${nginx.http}/git`,
            privateUrl: `${nginx.http}/git-private`,
            tlsUrl: `${nginx.https}/git`,
            root: git.root,
          }
        : undefined;
    return { servers: { nginx, git: gitServer, apache, sshd, missing }, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startGitBackend(base: string, fcgiwrap: string, children: ChildProcess[]) {
  const root = join(base, "git");
  const socket = join(base, "fcgiwrap.sock");
  await mkdir(root);
  children.push(run(fcgiwrap, ["-f", "-c", "4", "-s", `unix:${socket}`]));
  await until("fcgiwrap", async () => existsSync(socket));
  const execPath = execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim();
  return { root, socket, backend: join(execPath, "git-http-backend") };
}

async function startNginx(
  base: string,
  program: string,
  git: { root: string; socket: string; backend: string } | undefined,
  children: ChildProcess[],
): Promise<NginxServer> {
  const dir = join(base, "nginx");
  const root = join(base, "www");
  await mkdir(dir);
  await mkdir(root);
  await writeFile(join(dir, "htpasswd"), `${USERNAME}:{PLAIN}${PASSWORD}\n`);
  makeCertificates(dir);
  const ports = await listening("nginx", 3, async ([http, https, clientTls]) => {
    const config = nginxConfig({
      dir,
      root,
      user: userInfo().uid === 0 ? userInfo().username : undefined,
      ports: { http: http as number, https: https as number, clientTls: clientTls as number },
      git,
    });
    await writeFile(join(dir, "nginx.conf"), config);
    return run(program, ["-p", dir, "-e", join(dir, "error.log"), "-c", join(dir, "nginx.conf")]);
  });
  children.push(ports.child);
  const [http, https, clientTls] = ports.ports;
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

async function startApache(
  base: string,
  program: string,
  children: ChildProcess[],
): Promise<ApacheServer> {
  const dir = join(base, "apache");
  const root = join(base, "apache-www");
  await mkdir(dir);
  await mkdir(root);
  const { child, ports } = await listening("apache2", 1, async ([port]) => {
    const config = apacheConfig({ dir, root, port: port as number, isRoot: userInfo().uid === 0 });
    await writeFile(join(dir, "apache.conf"), config);
    return run(program, ["-D", "FOREGROUND", "-d", dir, "-f", join(dir, "apache.conf")]);
  });
  children.push(child);
  const url = `http://127.0.0.1:${ports[0]}`;
  return { plain: `${url}/plain`, fancy: `${url}/fancy`, root };
}

async function startSshd(
  base: string,
  program: string,
  children: ChildProcess[],
): Promise<SshServer> {
  const dir = join(base, "ssh");
  await mkdir(dir, { mode: 0o700 });
  for (const name of ["host", "user", "stranger"]) {
    execFileSync("ssh-keygen", [
      "-q",
      "-t",
      "ed25519",
      "-N",
      "",
      "-C",
      name,
      "-f",
      join(dir, name),
    ]);
  }
  await writeFile(join(dir, "authorized_keys"), await readFile(join(dir, "user.pub")));
  // Debian's sshd insists on it, and only its service makes it.
  if (userInfo().uid === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const { child, ports } = await listening("sshd", 1, async ([port]) => {
    await writeFile(join(dir, "sshd_config"), sshdConfig({ dir, port: port as number }));
    return run(program, ["-D", "-E", join(dir, "sshd.log"), "-f", join(dir, "sshd_config")]);
  });
  children.push(child);
  const hostKey = await readFile(join(dir, "host.pub"), "utf8");
  await writeFile(join(dir, "known_hosts"), `[127.0.0.1]:${ports[0]} ${hostKey}`);
  return {
    port: ports[0] as number,
    user: userInfo().username,
    key: join(dir, "user"),
    strangerKey: join(dir, "stranger"),
    knownHosts: join(dir, "known_hosts"),
  };
}

/** An authority of our own, a certificate for 127.0.0.1 and one for a client, below `dir`. */
function makeCertificates(dir: string): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  openssl(
    "req",
    "-x509",
    ...newKey,
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
    "-subj",
    "/CN=pannier test authority",
  );
  for (const [name, subject, extension] of [
    ["server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1"],
    ["client", "/CN=pannier test client", "extendedKeyUsage=clientAuth"],
  ] as const) {
    openssl(
      "req",
      "-x509",
      "-CA",
      "ca.pem",
      "-CAkey",
      "ca.key",
      ...newKey,
      "-keyout",
      `${name}.key`,
      "-out",
      `${name}.pem`,
      "-subj",
      subject,
      "-addext",
      extension,
      "-addext",
      "basicConstraints=critical,CA:FALSE",
    );
  }
}

function findProgram(name: string): string | undefined {
  // Servers live in sbin, which is not in every user's path.
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

/** In a process group of its own: fcgiwrap does not end its workers, so {@link end} signals the group. */
function run(program: string, args: readonly string[]): ChildProcess {
  return spawn(program, args, { stdio: ["ignore", "ignore", "inherit"], detached: true });
}

/** Starts a server on free ports until all of them answer; a port may be taken in between, so not only once. */
async function listening(
  name: string,
  count: number,
  start: (ports: readonly number[]) => Promise<ChildProcess>,
): Promise<{ child: ChildProcess; ports: number[] }> {
  for (let attempt = 1; ; attempt++) {
    const ports = await Promise.all(Array.from({ length: count }, freePort));
    const child = await start(ports);
    try {
      await until(name, async () => {
        if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
        return (await Promise.all(ports.map(answers))).every(Boolean);
      });
      return { child, ports };
    } catch (error) {
      await end(child);
      if (attempt === 3) throw error;
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

async function until(name: string, done: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`${name} does not answer`);
    await delay(25);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const group = -(child.pid as number);
  const exit = once(child, "exit");
  process.kill(group, "SIGTERM");
  const stubborn = setTimeout(() => process.kill(group, "SIGKILL"), 5_000);
  await exit;
  clearTimeout(stubborn);
}

if (import.meta.main) {
  const { servers, stop } = await startServers();
  console.log(JSON.stringify(servers, undefined, 2));
  const signal = new Promise<void>((resolve) => {
    process.once("SIGINT", () => resolve()).once("SIGTERM", () => resolve());
  });
  await signal;
  await stop();
}
