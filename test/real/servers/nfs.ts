/**
 * NFS-Ganesha: for NFS version 4, which needs no service beside it, and for version 3, which needs a portmapper. That
 * one's port is fixed, so it runs in a network namespace of its own.
 */
import type { ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FROM_SOURCES } from "../../support/from-sources.ts";
import { type Ground, listening, listeningPorts, run, until } from "./process.ts";

export interface NfsServer {
  readonly port: number;
  /** A directory that is exported under its own path. */
  readonly root: string;
  /** Another, for clients on ports below 1024 only. */
  readonly privilegedRoot: string;
  /** What {@link runNfs} needs. */
  readonly dir: string;
  readonly program: string;
}

export interface Nfs3Server {
  /** Of NFS and of the mount service. */
  readonly port: number;
  readonly mountPort: number;
  /** As those of {@link NfsServer}. */
  readonly root: string;
  readonly privilegedRoot: string;
  /** A process in the server's namespace, where the portmapper tells the ports. */
  readonly pid: number;
}

type Files = Omit<NfsServer, "port">;

/** Libraries that the server and the adapter need, each in a package of its own. */
const LIBRARIES = ["ganesha/libfsalvfs.so", "libnfs.so.13"];

/** Why the server is of no use, where one of them is not installed. */
export function missingForNfs(): string | undefined {
  const directories = ["/usr/lib", ...readdirSync("/usr/lib").map((name) => `/usr/lib/${name}`)];
  const absent = LIBRARIES.filter(
    (library) => !directories.some((directory) => existsSync(join(directory, library))),
  );
  if (absent.length === 0) return undefined;
  return `${absent.join(" and ")} not installed: test/real/run installs what is missing`;
}

export async function startNfs(ground: Ground, program: string): Promise<NfsServer> {
  const files: Files = {
    root: join(ground.base, "nfs-files"),
    privilegedRoot: join(ground.base, "nfs-privileged"),
    dir: join(ground.base, "nfs"),
    program,
  };
  await mkdir(files.dir, { mode: 0o700 });
  for (const directory of [files.root, files.privilegedRoot]) {
    await mkdir(directory);
    await chmod(directory, 0o755);
  }
  const { child, ports } = await listening("ganesha.nfsd", 1, ([port]) =>
    runNfs(files, port as number),
  );
  ground.children.push(child);
  return { ...files, port: ports[0] as number };
}

export async function startNfs3(
  ground: Ground,
  program: string,
  rpcbind: string,
  unshare: string,
): Promise<Nfs3Server> {
  const dir = join(ground.base, "nfs3");
  const root = join(ground.base, "nfs3-files");
  const privilegedRoot = join(ground.base, "nfs3-privileged");
  await mkdir(dir, { mode: 0o700 });
  for (const directory of [root, privilegedRoot]) {
    await mkdir(directory);
    await chmod(directory, 0o755);
  }
  await writeFile(
    join(dir, "ganesha.conf"),
    `
NFS_CORE_PARAM {
  NFS_Protocols = 3;
  NFS_Port = 2049;
  MNT_Port = 20048;
  Enable_UDP = false;
  Enable_NLM = false;
  Enable_RQUOTA = false;
}
MDCACHE { Dir_Chunk = 0; }
${exportOf(1, root)}
${exportOf(2, privilegedRoot, "PrivilegedPort = true;")}
LOG { Default_Log_Level = CRIT; }
`,
  );
  const relay = [process.execPath, ...FROM_SOURCES, join(import.meta.dirname, "relay.ts")].join(
    " ",
  );
  // The portmapper's socket and lock are in /run.
  const script = `
mount -t tmpfs tmpfs /run
ip link set lo up
${rpcbind} -f -i -w &
until [ -S /run/rpcbind.sock ]; do sleep 0.05; done
${relay} ${dir}/nfs.sock 2049 ${dir}/mount.sock 20048 &
exec ${program} -F -f ${dir}/ganesha.conf -L ${dir}/ganesha.log -p ${dir}/ganesha.pid
`;
  const server = run(unshare, ["--net", "--mount", "sh", "-ec", script]);
  ground.children.push(server);
  const { child, ports } = await listening("the relay to ganesha.nfsd", 2, async ([nfs, mount]) =>
    run("/bin/sh", [
      "-ec",
      `exec ${relay} ${String(nfs)} ${dir}/nfs.sock ${String(mount)} ${dir}/mount.sock`,
    ]),
  );
  ground.children.push(child);
  const [port, mountPort] = ports as [number, number];
  const pid = server.pid as number;
  await until("ganesha.nfsd", async () => {
    if (server.exitCode !== null) throw new Error(`ganesha.nfsd ended with ${server.exitCode}`);
    const open = await listeningPorts(pid);
    return open.includes(2049) && open.includes(20_048);
  });
  return { port, mountPort, root, privilegedRoot, pid };
}

/** Runs one more of the same on a port: what is to be killed or stopped in a test is the test's own. */
export async function runNfs(files: Files, port: number): Promise<ChildProcess> {
  const { dir, root, privilegedRoot, program } = files;
  const recovery = join(dir, `recovery-${port}`);
  await mkdir(recovery, { recursive: true });
  const config = join(dir, `ganesha-${port}.conf`);
  await writeFile(
    config,
    `
NFS_CORE_PARAM {
  NFS_Protocols = 4;
  Bind_addr = 127.0.0.1;
  NFS_Port = ${port};
  Enable_NLM = false;
  Enable_RQUOTA = false;
}
NFSV4 {
  RecoveryBackend = fs;
  RecoveryRoot = ${recovery};
  Graceless = true;
  # As Linux's own server does; libnfs looks names up one by one.
  Only_Numeric_Owners = true;
}
# The tests change what is exported behind the server's back.
MDCACHE { Dir_Chunk = 0; }
${exportOf(1, root)}
${exportOf(2, privilegedRoot, "PrivilegedPort = true;")}
LOG { Default_Log_Level = CRIT; }
`,
  );
  const log = join(dir, "ganesha.log");
  return run(program, ["-F", "-f", config, "-L", log, "-p", join(dir, `ganesha-${port}.pid`)]);
}

function exportOf(id: number, path: string, more = ""): string {
  return `
EXPORT {
  Export_Id = ${id};
  Path = ${path};
  Pseudo = ${path};
  Access_Type = RO;
  Squash = None;
  SecType = sys;
  Attr_Expiration_Time = 0;
  ${more}
  FSAL { Name = VFS; }
}`;
}
