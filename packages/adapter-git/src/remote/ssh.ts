/** Repositories over ssh, by the ssh program, which knows agents and every kind of key. */
import { randomUUID } from "node:crypto";
import { rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Credentials,
  readCredentialFile,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { type Command, lastWords } from "./process.ts";

export interface SshTarget {
  readonly host: string;
  readonly port: number | undefined;
  readonly username: string | undefined;
}

/**
 * An ssh command line. Host keys are always checked, nothing is asked, no configuration file is read (it could name
 * programs to run).
 *
 * @param remoteCommand for the other side's shell
 * @throws SourceError `auth` where a key or known-hosts file cannot be read
 */
export async function sshCommand(
  target: SshTarget,
  remoteCommand: string,
  credentials: Credentials,
  idleTimeout: number,
): Promise<Command> {
  const { sshKeyFile, sshKnownHostsFile } = credentials;
  const seconds = Math.max(1, Math.ceil(idleTimeout / 1000));
  const settings = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    `ConnectTimeout=${seconds}`,
    "ForwardAgent=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ControlPath=none",
    "SendEnv=GIT_PROTOCOL",
  ];
  if (sshKnownHostsFile !== undefined) {
    await readCredentialFile(sshKnownHostsFile, "known hosts file", { mayBeEmpty: true });
    settings.push(`UserKnownHostsFile=${quoted(sshKnownHostsFile)}`, "GlobalKnownHostsFile=none");
  }
  const key = sshKeyFile === undefined ? undefined : await privateKey(sshKeyFile);
  if (key !== undefined)
    settings.push(`IdentityFile=${quoted(key.path)}`, "IdentitiesOnly=yes", "IdentityAgent=none");
  return {
    program: "ssh",
    args: [
      "-F",
      "/dev/null",
      "-T",
      ...settings.flatMap((setting) => ["-o", setting]),
      ...(target.port === undefined ? [] : ["-p", String(target.port)]),
      ...(target.username === undefined ? [] : ["-l", target.username]),
      "--",
      target.host.replace(/^\[|\]$/g, ""),
      remoteCommand,
    ],
    env: {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      SSH_AUTH_SOCK: process.env["SSH_AUTH_SOCK"],
      LC_ALL: "C",
      GIT_PROTOCOL: "version=2",
    },
    ...(key?.dispose === undefined ? {} : { dispose: key.dispose }),
  };
}

/** What ssh, or the program at the other side, said before it failed. */
export function sshFailure(stderr: string): SourceError {
  const words = lastWords(stderr);
  if (/Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED/i.test(stderr))
    return new SourceError(
      "auth",
      /CHANGED/.test(stderr)
        ? "the server's ssh host key is not the one in the known hosts file"
        : "the server's ssh host key is not in the known hosts file",
      {
        hint: "check the key (ssh-keyscan HOST shows it) and put it into credentials.sshKnownHostsFile or ~/.ssh/known_hosts",
      },
    );
  if (/Permission denied|Too many authentication failures|no matching host key/i.test(stderr))
    return new SourceError("auth", `ssh could not sign in: ${words}`, {
      reached: "answered",
      hint: "give a key that the server knows, without a passphrase, by credentials.sshKeyFile, or use an ssh agent",
    });
  if (/does not appear to be a git repository|Repository not found|not exist|no such/i.test(stderr))
    return new SourceError("not-found", `the repository does not exist: ${words}`, {
      hint: "check the path in the URL, and that this key may read the repository",
    });
  if (/Could not resolve hostname/i.test(stderr))
    return new SourceError("unavailable", "the host name cannot be resolved", {
      hint: "check the host in the URL",
    });
  return new SourceError("unavailable", `the ssh connection failed: ${words}`);
}

/** For the shell at the other side. */
export function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** For a value of ssh's configuration: blanks would end it, and `%` starts a token. */
function quoted(path: string): string {
  return `"${path.replaceAll("%", "%%").replaceAll('"', '\\"')}"`;
}

/** ssh refuses a key of ours that others may read, which is how Secrets are often mounted: it then gets a copy. */
async function privateKey(path: string): Promise<{ path: string; dispose?: () => Promise<void> }> {
  const key = await readCredentialFile(path, "ssh key");
  const { mode, uid } = await stat(path);
  if ((mode & 0o077) === 0 || uid !== process.getuid?.()) return { path };
  const copy = join(tmpdir(), `pannier-key-${randomUUID()}`);
  const dispose = () => rm(copy, { force: true });
  try {
    await writeFile(copy, key, { flag: "wx", mode: 0o600 });
  } catch (error) {
    await dispose();
    throw new UsageError(
      `the ssh key ${path} is readable for others, which ssh refuses, and cannot be copied`,
      "set its mode to 0600",
      { cause: error },
    );
  }
  return { path: copy, dispose };
}
