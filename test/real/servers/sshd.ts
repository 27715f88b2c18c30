import { execFileSync } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { join } from "node:path";
import { type Ground, listening, run } from "./process.ts";

export interface SshServer {
  readonly port: number;
  readonly user: string;
  /** A private key that may sign in, and one that may not. */
  readonly key: string;
  readonly strangerKey: string;
  readonly knownHosts: string;
}

export async function startSshd({ base, children }: Ground, program: string): Promise<SshServer> {
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

function sshdConfig({ dir, port }: { dir: string; port: number }): string {
  return `
ListenAddress 127.0.0.1
Port ${port}
HostKey ${dir}/host
PidFile ${dir}/sshd.pid
AuthorizedKeysFile ${dir}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PubkeyAuthentication yes
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PrintMotd no
AcceptEnv GIT_PROTOCOL
Subsystem sftp internal-sftp
LogLevel ERROR
`;
}
