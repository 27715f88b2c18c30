/** OpenSSH for SFTP: host keys of three kinds, and another with passwords. */
import { type ChildProcess, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

export interface SftpServer {
  readonly port: number;
  readonly user: string;
  /** A private key that may sign in, the same with {@link SftpServer.passphrase}, and one that may not. */
  readonly key: string;
  readonly encryptedKey: string;
  readonly passphrase: string;
  readonly strangerKey: string;
  readonly knownHosts: string;
  /** Public host keys, as known hosts files have them, by type. */
  readonly hostKeys: Readonly<Record<"ed25519" | "ecdsa" | "rsa", string>>;
  /** Of the first of them, which is the one that a client prefers. */
  readonly fingerprint: string;
  /** A directory that all may read. */
  readonly root: string;
  /** What {@link runSftp} needs. */
  readonly dir: string;
  readonly program: string;
}

/** Another, that takes passwords; its users are in files of its own. */
export interface SftpPasswordServer {
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The first by the method `password`, the second by `keyboard-interactive` only. */
  readonly keyboardPort: number;
  readonly fingerprint: string;
  /** A directory that all may read. */
  readonly root: string;
  /** See {@link setPassword}. */
  readonly shadow: string;
}

const HOST_KEYS = { host_ed25519: "ed25519", host_ecdsa: "ecdsa", host_rsa: "rsa" };
const USER = "pannier-reader";
const PASSWORD = "correct horse %41 battery";

export async function startSftp(ground: Ground, program: string): Promise<SftpServer> {
  const dir = join(ground.base, "sftp");
  const root = join(ground.base, "sftp-files");
  await mkdir(dir, { mode: 0o700 });
  await mkdir(root);
  for (const [name, type] of Object.entries({
    ...HOST_KEYS,
    user: "ed25519",
    stranger: "ed25519",
  })) {
    makeKey(join(dir, name), type, "");
  }
  const passphrase = "pass phrase";
  makeKey(join(dir, "encrypted"), "rsa", passphrase);
  const publicKeys = ["user.pub", "encrypted.pub"].map((name) => readFile(join(dir, name)));
  await writeFile(join(dir, "authorized_keys"), Buffer.concat(await Promise.all(publicKeys)));
  // Debian's sshd insists on it, and only its service makes it.
  if (userInfo().uid === 0) await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  const { child, ports } = await listening("sshd", 1, ([port]) =>
    runSftp({ dir, program }, port as number),
  );
  ground.children.push(child);
  const port = ports[0] as number;
  const hostKeys = {
    ed25519: await publicKey(dir, "host_ed25519"),
    ecdsa: await publicKey(dir, "host_ecdsa"),
    rsa: await publicKey(dir, "host_rsa"),
  };
  const known = Object.values(hostKeys).map((key) => `[127.0.0.1]:${port} ${key}`);
  await writeFile(join(dir, "known_hosts"), `${known.join("\n")}\n`);
  return {
    port,
    user: userInfo().username,
    key: join(dir, "user"),
    encryptedKey: join(dir, "encrypted"),
    passphrase,
    strangerKey: join(dir, "stranger"),
    knownHosts: join(dir, "known_hosts"),
    hostKeys,
    fingerprint: fingerprintOf(hostKeys.ed25519),
    root,
    dir,
    program,
  };
}

/** Runs one more of the same on a port: what is to be killed or stopped in a test is the test's own. */
export async function runSftp(
  { dir, program }: Pick<SftpServer, "dir" | "program">,
  port: number,
): Promise<ChildProcess> {
  const file = join(dir, `sshd_config_${port}`);
  await writeFile(
    file,
    `${common(dir, port, Object.keys(HOST_KEYS))}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
`,
  );
  return run(program, ["-D", "-E", join(dir, "sshd.log"), "-f", file]);
}

/** Changes the password in place: the file is mounted over the system's. */
export async function setPassword(
  { shadow }: Pick<SftpPasswordServer, "shadow">,
  password: string,
): Promise<void> {
  const hash = execFileSync("openssl", ["passwd", "-6", "-stdin"], { input: password }).toString();
  await writeFile(
    shadow,
    `root:*:19000:0:99999:7:::\nsshd:*:19000::::::\n${USER}:${hash.trim()}:19000:0:99999:7:::\n`,
  );
}

/**
 * sshd asks the system for passwords. In a mount namespace of its own the system's files are ours, and nothing outside
 * of it changes.
 */
export async function startSftpPasswords(
  { base, children }: Ground,
  program: string,
): Promise<SftpPasswordServer> {
  const dir = join(base, "sftp-passwords");
  const root = join(base, "sftp-password-files");
  await mkdir(dir, { mode: 0o700 });
  await mkdir(root);
  await mkdir("/run/sshd", { recursive: true, mode: 0o755 });
  makeKey(join(dir, "host_ed25519"), "ed25519", "");
  const shadow = join(dir, "shadow");
  await setPassword({ shadow }, PASSWORD);
  const users = (await readFile("/etc/passwd", "utf8")).trimEnd();
  await writeFile(join(dir, "passwd"), `${users}\n${USER}:x:65500:65500::/:/bin/sh\n`);
  await chmod(join(dir, "passwd"), 0o644);
  await writeFile(
    join(dir, "pam"),
    "auth required pam_unix.so\naccount required pam_unix.so\nsession optional pam_permit.so\n",
  );
  const { child, ports } = await listening("sshd", 2, async ([port, keyboardPort]) => {
    await writeFile(
      join(dir, "sshd_password"),
      `${common(dir, port as number, ["host_ed25519"])}PasswordAuthentication yes\nKbdInteractiveAuthentication no\nUsePAM no\n`,
    );
    await writeFile(
      join(dir, "sshd_keyboard"),
      `${common(dir, keyboardPort as number, ["host_ed25519"])}PasswordAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM yes\n`,
    );
    const mounts = [
      ["passwd", "/etc/passwd"],
      ["shadow", "/etc/shadow"],
      ["pam", "/etc/pam.d/sshd"],
    ].map(([file, over]) => `mount --bind ${dir}/${file} ${over}`);
    const start = (config: string) => `${program} -D -E ${dir}/sshd.log -f ${dir}/${config}`;
    const script = [...mounts, `${start("sshd_keyboard")} &`, `exec ${start("sshd_password")}`];
    return run("/usr/bin/unshare", ["--mount", "sh", "-ec", script.join("\n")]);
  });
  children.push(child);
  const [port, keyboardPort] = ports as [number, number];
  const fingerprint = fingerprintOf(await publicKey(dir, "host_ed25519"));
  return { port, keyboardPort, user: USER, password: PASSWORD, fingerprint, root, shadow };
}

function common(dir: string, port: number, hostKeyFiles: readonly string[]): string {
  return `
ListenAddress 127.0.0.1
Port ${port}
${hostKeyFiles.map((name) => `HostKey ${dir}/${name}`).join("\n")}
PidFile ${dir}/sshd-${port}.pid
AuthorizedKeysFile ${dir}/authorized_keys
PubkeyAuthentication yes
PermitRootLogin prohibit-password
StrictModes no
PrintMotd no
MaxStartups 100
Subsystem sftp internal-sftp
LogLevel ERROR
`;
}

function makeKey(file: string, type: string, passphrase: string): void {
  execFileSync("ssh-keygen", ["-q", "-t", type, "-N", passphrase, "-C", "test", "-f", file]);
}

function fingerprintOf(hostKey: string): string {
  const key = Buffer.from(hostKey.split(" ")[1] as string, "base64");
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace("=", "")}`;
}

async function publicKey(dir: string, name: string): Promise<string> {
  const [type, key] = (await readFile(join(dir, `${name}.pub`), "utf8")).split(" ");
  return `${type} ${key}`;
}
