/** Samba, set up in several ways: as it comes, with signing and with encryption as a must; and such as cannot encrypt, or speak SMB 3. */
import { type ChildProcess, execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

export interface SmbServer {
  readonly port: number;
  /** The same files on servers that refuse what is not signed, what is not encrypted, and that do not encrypt. */
  readonly signingPort: number;
  readonly encryptingPort: number;
  readonly plainPort: number;
  /** One that speaks SMB 2 only. */
  readonly oldPort: number;
  readonly user: string;
  readonly password: string;
  /** The server's own domain. */
  readonly workgroup: string;
  /** What the shares `files`, `open` (for guests) and `closed` (for nobody) show. */
  readonly root: string;
  /** What {@link runSmb} and {@link setSmbPassword} need. */
  readonly dir: string;
  readonly program: string;
}

type SmbPlace = Pick<SmbServer, "root" | "dir" | "program">;

const WORKGROUP = "PANNIER";

/** Further lines of the section `[global]`. */
const SETTINGS = {
  default: [],
  signing: ["server signing = mandatory"],
  encrypting: ["server smb encrypt = required"],
  plain: ["server smb encrypt = off"],
  old: ["server max protocol = SMB2_10"],
} as const;

export async function startSmb({ base, children }: Ground, program: string): Promise<SmbServer> {
  const dir = join(base, "smb");
  const root = join(base, "smb-files");
  await mkdir(dir, { mode: 0o700 });
  await mkdir(root);
  const place = { root, dir, program };
  const ports: number[] = [];
  for (const settings of Object.values(SETTINGS)) {
    const started = await listening("smbd", 1, ([port]) => runSmb(place, port as number, settings));
    children.push(started.child);
    ports.push(started.ports[0] as number);
  }
  const [port = 0, signingPort = 0, encryptingPort = 0, plainPort = 0, oldPort = 0] = ports;
  const password = "päss %41; word'";
  const user = userInfo().username;
  const server = {
    ...place,
    port,
    signingPort,
    encryptingPort,
    plainPort,
    oldPort,
    user,
    password,
  };
  setSmbPassword(server, password);
  return { ...server, workgroup: WORKGROUP };
}

/** Runs one more of the same on a port: what is to be killed or stopped in a test is the test's own. */
export async function runSmb(
  { root, dir, program }: SmbPlace,
  port: number,
  settings: readonly string[] = SETTINGS.default,
): Promise<ChildProcess> {
  const config = await configureSmb({ root, dir, port, settings });
  return run(program, smbArguments(config));
}

export function smbArguments(config: string): string[] {
  return ["--foreground", "--no-process-group", `--configfile=${config}`];
}

export interface SmbConfiguration extends Pick<SmbServer, "root" | "dir" | "port"> {
  readonly address?: string;
  readonly role?: string;
  /** Further lines of the section `[global]`, also of what is the same for all shares. */
  readonly settings: readonly string[];
}

/** @returns the path of a configuration */
export async function configureSmb({
  root,
  dir,
  address = "127.0.0.1",
  port,
  role = "standalone server",
  settings,
}: SmbConfiguration): Promise<string> {
  const own = join(dir, String(port));
  const directories = {
    "lock directory": "lock",
    "state directory": "state",
    "cache directory": "cache",
    "pid directory": "pid",
    "private dir": "private",
    "ncalrpc dir": "ncalrpc",
  };
  for (const name of Object.values(directories)) {
    await mkdir(join(own, name), { recursive: true });
  }
  const share = (name: string, ...lines: readonly string[]) =>
    [`[${name}]`, `path = ${root}`, "read only = yes", ...lines].join("\n");
  const config = configOf(dir, port);
  await writeFile(
    config,
    `[global]
server role = ${role}
workgroup = ${WORKGROUP}
interfaces = ${address}
bind interfaces only = yes
smb ports = ${port}
disable netbios = yes
${Object.entries(directories)
  .map(([setting, name]) => `${setting} = ${join(own, name)}`)
  .join("\n")}
passdb backend = smbpasswd:${join(dir, "smbpasswd")}
log file = ${join(own, "log")}
map to guest = Bad User
load printers = no
printing = bsd
${settings.join("\n")}
${share("files")}
${share("open", "guest ok = yes", "guest only = yes")}
${share("closed", "valid users = nobody")}
`,
  );
  return config;
}

/** Takes a share from a server, or gives it back; whoever uses it is put out. */
export async function offerShare(
  { dir }: Pick<SmbServer, "dir">,
  port: number,
  share: string,
  offered: boolean,
): Promise<void> {
  const config = configOf(dir, port);
  const text = await readFile(config, "utf8");
  const [from, to] = offered ? [`[no ${share}]`, `[${share}]`] : [`[${share}]`, `[no ${share}]`];
  await writeFile(config, text.replace(from, to));
  for (const message of [["reload-config"], ["close-share", share]]) {
    execFileSync("smbcontrol", [`--configfile=${config}`, "smbd", ...message]);
  }
}

/** The files of a server that somebody has open, in words. */
export function openFiles({ dir, port }: Pick<SmbServer, "dir" | "port">): string {
  return execFileSync("smbstatus", ["--locks", `--configfile=${configOf(dir, port)}`], {
    encoding: "utf8",
  });
}

export function setSmbPassword(
  { dir, port, user }: Pick<SmbServer, "dir" | "port" | "user">,
  password: string,
): void {
  execFileSync("smbpasswd", ["-c", configOf(dir, port), "-s", "-a", user], {
    input: `${password}\n${password}\n`,
    stdio: ["pipe", "ignore", "ignore"],
  });
}

function configOf(dir: string, port: number): string {
  return join(dir, `smb_${port}.conf`);
}
