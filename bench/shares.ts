/** Directories of servers: many small files and one large one, first sync and nothing changed, beside what a person would use. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ServerName, type Servers, startServers } from "../test/real/servers/start.ts";
import { type Command, compete, type Contestant, type Result, table } from "./measure.ts";
import { marksOf, observeAll } from "./process.ts";
import { pannier, rclone } from "./tools.ts";

const FILES = Number(process.env["PANNIER_BENCH_FILES"] ?? 2000);
const LARGE = Number(process.env["PANNIER_BENCH_LARGE_MIB"] ?? 1024);
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
const POLLS = { warmUp: 20, count: 50 };

interface Tool {
  readonly name: string;
  /** Brings a directory of the server below an empty or earlier target. */
  readonly command: (directory: string, target: string) => Command;
  /** Fetches everything again, whatever is there: no contestant where nothing changed. */
  readonly onlyFirst?: boolean;
  /** Goes on to look for changes: measured by the poll, and only where nothing changed. */
  readonly follows?: boolean;
}

export async function sftp(): Promise<string> {
  return measured("sftp", ({ sftp: server }) => {
    if (server === undefined) throw new Error("sshd is needed");
    const { port, user, key, knownHosts, root } = server;
    const ssh = ["-i", key, "-o", `UserKnownHostsFile=${knownHosts}`, "-o", "BatchMode=yes"];
    const connect = `ssh -a -x -F /dev/null ${ssh.join(" ")}`;
    const tools: Tool[] = [
      ...ours((directory) => `sftp://${user}@127.0.0.1:${port}${directory}/`, {
        PANNIER_SSH_KEY_FILE: key,
        PANNIER_SSH_KNOWN_HOSTS_FILE: knownHosts,
      }),
      {
        name: "`sftp -r`",
        onlyFirst: true,
        command: (directory, target) => ({
          program: "sftp",
          args: [
            "-q",
            "-r",
            "-F",
            "/dev/null",
            ...ssh,
            "-P",
            String(port),
            `${user}@127.0.0.1:${directory}`,
            target,
          ],
        }),
      },
      {
        name: "`lftp mirror --parallel=8`",
        command: (directory, target) =>
          lftp(
            `set sftp:connect-program "${connect}"; open -u ${user}, -p ${port} sftp://127.0.0.1`,
            directory,
            target,
          ),
      },
      // Otherwise it runs a program on the server for the checksum of each file, which takes minutes.
      rcloneOf(
        (directory) =>
          `:sftp,disable_hashcheck=true,host=127.0.0.1,port=${port},user=${user},key_file=${key},known_hosts_file=${knownHosts}:${directory}`,
      ),
    ];
    return { root, tools };
  });
}

export async function ftp(): Promise<string> {
  const tables: string[] = [];
  for (const name of ["vsftpd", "proftpd"] as const) {
    const result = await measured(name, ({ [name]: server }) => {
      if (server === undefined) throw new Error(`${name} is needed`);
      const { plain: port, user, password, root } = server;
      // vsftpd tells the machine's paths, proftpd begins at its root.
      const at = (directory: string) =>
        name === "vsftpd" ? directory : directory.slice(root.length);
      const obscured = obscure(password);
      const tools: Tool[] = [
        ...ours((directory) => `ftp://127.0.0.1:${port}/%2F${at(directory).slice(1)}/`, {
          PANNIER_USERNAME: user,
          PANNIER_PASSWORD: password,
        }),
        {
          name: "`lftp mirror --parallel=8`",
          command: (directory, target) =>
            lftp(
              `set ftp:ssl-allow no; open -u "${user},${password}" -p ${port} ftp://127.0.0.1`,
              at(directory),
              target,
            ),
        },
        rcloneOf(
          (directory) =>
            `:ftp,host=127.0.0.1,port=${port},user="${user}",pass=${obscured}:${at(directory)}`,
        ),
      ];
      return { root, tools };
    });
    tables.push(`**${name}**\n\n${result}`);
  }
  return tables.join("\n\n");
}

export async function webdav(): Promise<string> {
  return measured("apacheDav", ({ apacheDav: server }) => {
    if (server === undefined) throw new Error("apache2 is needed");
    const { plain: port, root } = server;
    const at = (directory: string) => directory.slice(root.length + 1);
    const tools: Tool[] = [
      ...ours((directory) => `dav://127.0.0.1:${port}/deep/${at(directory)}/`),
      rcloneOf(
        (directory) => `:webdav,url="http://127.0.0.1:${port}/deep",vendor=other:${at(directory)}`,
      ),
    ];
    return { root, tools };
  });
}

export async function smb(): Promise<string> {
  return measured("smb", ({ smb: server }) => {
    if (server === undefined) throw new Error("samba is needed");
    const { port, user, password, root } = server;
    const at = (directory: string) => directory.slice(root.length + 1);
    const url = (directory: string) => `smb://127.0.0.1:${port}/files/${at(directory)}/`;
    const signedIn = { PANNIER_USERNAME: user, PANNIER_PASSWORD: password };
    const obscured = obscure(password);
    const tools: Tool[] = [
      ...ours(url, signedIn),
      // The others do not ask for signatures.
      {
        name: "`pannier sync`, `sign=off`",
        command: sync((directory) => `${url(directory)}?sign=off`, signedIn),
      },
      {
        name: "`smbclient` `mget *`",
        onlyFirst: true,
        command: (directory, target) => ({
          program: "smbclient",
          args: [
            "//127.0.0.1/files",
            "-p",
            String(port),
            "-U",
            user,
            "-D",
            at(directory),
            "-c",
            `recurse ON; prompt OFF; lcd ${target}; mget *`,
          ],
          env: { PASSWD: password },
        }),
      },
      rcloneOf(
        (directory) =>
          `:smb,host=127.0.0.1,port=${port},user="${user}",pass=${obscured}:files/${at(directory)}`,
      ),
    ];
    return { root, tools };
  });
}

export async function nfs(): Promise<string> {
  return measured("nfs", ({ nfs: server }) => {
    if (server === undefined) throw new Error("nfs-ganesha is needed");
    const { port, root } = server;
    // One file at a time is all that it does, so it is told their names, and has directories made for it.
    const script = `cd "$1" && find . -type d -exec mkdir -p "$2/{}" \\; && find . -type f | cut -c3- | while read -r file; do
      nfs-cp "nfs://127.0.0.1$1/$file?version=4&nfsport=${port}" "$2/$file" || exit 1; done`;
    const tools: Tool[] = [
      ...ours((directory) => `nfs://127.0.0.1:${port}${directory}/`),
      {
        name: "`nfs-cp`, file by file",
        onlyFirst: true,
        command: (directory, target) => ({
          program: "sh",
          args: ["-c", script, "sh", directory, target],
        }),
      },
    ];
    return { root, tools };
  });
}

async function measured(
  server: ServerName,
  tools: (servers: Servers) => { readonly root: string; readonly tools: readonly Tool[] },
): Promise<string> {
  const { servers, stop } = await startServers([server]);
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  try {
    const { root, tools: all } = tools(servers);
    const small = await makeSmall(join(root, "small"));
    const large = await makeLarge(join(root, "large"));
    const contestants = (directory: string, count: number, again: boolean): Contestant[] =>
      all
        .filter(({ onlyFirst, follows }) => follows !== true && (again || onlyFirst !== true))
        .map(({ name, command }, index) => {
          const target = join(work, `${index}-${again}`);
          return {
            name,
            command: command(directory, target),
            prepare: async () => {
              if (again) await rm(target, { recursive: true, force: true });
              await mkdir(target, { recursive: true });
            },
            check: () => checkCount(target, count),
          };
        });
    const firstSmall = await compete(contestants(small, FILES, true), ROUNDS);
    const firstLarge = await compete(contestants(large, 1, true), ROUNDS);
    const unchanged = await compete(contestants(small, FILES, false), ROUNDS);
    for (const { name, command } of all.filter(({ follows }) => follows === true)) {
      unchanged.unshift(await followed(name, command(small, join(work, "followed"))));
    }
    return [
      `First sync of ${FILES} files of 1 to 16 KiB:\n\n${table(firstSmall)}`,
      `First sync of one file of ${LARGE} MiB:\n\n${table(firstLarge)}`,
      `Nothing changed, ${FILES} files:\n\n${table(unchanged)}`,
    ].join("\n\n");
  } finally {
    await stop();
    await rm(work, { recursive: true, force: true });
  }
}

type Source = (directory: string) => string;

function ours(source: Source, env: Readonly<Record<string, string>> = {}): Tool[] {
  return [
    { name: "`pannier sync`", command: sync(source, env) },
    {
      name: "`pannier watch`, a poll",
      follows: true,
      command: (directory, target) => ({
        ...pannier("watch", source(directory), target, "--period=1ms", "--log-level=debug"),
        env,
      }),
    },
  ];
}

function sync(source: Source, env: Readonly<Record<string, string>>): Tool["command"] {
  return (directory, target) => ({ ...pannier("sync", source(directory), target), env });
}

interface Moment {
  readonly at: number;
  readonly cpu: number;
  readonly memory: number;
}

/** The polls of one that runs already; the first ones warm up. */
async function followed(name: string, command: Command): Promise<Result> {
  const moments: Moment[] = [];
  let polls = 0;
  for await (const pid of marksOf(command, /\bunchanged\b/)) {
    if (++polls < POLLS.warmUp) continue;
    const { cpu, resident } = observeAll(pid);
    moments.push({ at: performance.now() / 1000, cpu, memory: resident });
    if (moments.length > POLLS.count) break;
  }
  const [first, last] = [moments[0], moments.at(-1)] as [Moment, Moment];
  // Of a single poll the kernel's hundredths of a second say nothing.
  const cpu = (last.cpu - first.cpu) / POLLS.count;
  const costs = moments.slice(1).map(({ at, memory }, index) => ({
    wall: at - (moments[index] as Moment).at,
    cpu,
    memory,
  }));
  return { name, costs };
}

function lftp(connect: string, directory: string, target: string): Command {
  const script = `set cmd:fail-exit yes; ${connect}; mirror --parallel=8 "${directory}" "${target}"; quit`;
  return { program: "lftp", args: ["--norc", "-c", script] };
}

function rcloneOf(remote: (directory: string) => string): Tool {
  return {
    name: "`rclone sync --transfers 8`",
    command: (directory, target) =>
      rclone(["sync", "--transfers", "8", "--checkers", "8", remote(directory), target]),
  };
}

/** As rclone wants passwords to be given. */
function obscure(password: string): string {
  const { program, args } = rclone(["obscure", password]);
  return execFileSync(program, args, { encoding: "utf8" }).trim();
}

/** In directories of 50. */
async function makeSmall(root: string): Promise<string> {
  for (let i = 0; i < FILES; i++) {
    const directory = join(root, `d${Math.floor(i / 50)}`);
    if (i % 50 === 0) await mkdir(directory, { recursive: true });
    await writeFile(
      join(directory, `file-${i}.txt`),
      `${i}`.padEnd(1024 + ((i * 7919) % 15_360), "x"),
    );
  }
  await chmod(root, 0o755);
  return root;
}

async function makeLarge(root: string): Promise<string> {
  await mkdir(root);
  const file = await open(join(root, "large.bin"), "w", 0o644);
  const block = Buffer.alloc(2 ** 20, "0123456789abcdef");
  for (let i = 0; i < LARGE; i++) await file.write(block);
  await file.close();
  return root;
}

/** Tools put the directory itself below the target, or what is in it; the published tree counts once. */
async function checkCount(target: string, count: number): Promise<void> {
  const entries = await readdir(target, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile() && !/state\.db|lock/.test(entry.name));
  if (files.length < count)
    throw new Error(`${target} has ${files.length} files instead of ${count}`);
}
