/**
 * Repositories over ssh without the ssh program, which refuses to run as a user that the system does not know: the uid that
 * OpenShift, or `runAsUser`, gives to a container. It trusts and signs in by the same files.
 */
import { userInfo } from "node:os";
import { PassThrough } from "node:stream";
import type { Credentials } from "@pannier/core/adapter";
import { authMethods, readHostKeys, sshError, usernameOf } from "@pannier/ssh-client";
import type { Running } from "./process.ts";
import type { SshTarget } from "./ssh.ts";

/** Whether the system knows the user that this process runs as. */
export function isKnownUser(): boolean {
  try {
    userInfo();
    return true;
  } catch {
    return false;
  }
}

/** Runs a command on a server. @throws SourceError, UsageError where keys or known hosts cannot be read */
export async function startBySsh2(
  { host, port = 22, username }: SshTarget,
  remoteCommand: string,
  { sshKeyFile, sshKnownHostsFile, username: known }: Credentials,
  idleTimeout: number,
): Promise<Running> {
  const { default: ssh2 } = await import("ssh2");
  // A password that is set is another source's: the ssh program is given none either.
  const credentials: Credentials = { sshKeyFile, username: known };
  const location = { username, password: undefined };
  const [hostKeys, authHandler] = await Promise.all([
    readHostKeys({ host, port, pinned: undefined, knownHostsFile: sshKnownHostsFile }),
    authMethods(location, credentials, process.env, ssh2.utils.parseKey),
  ]);
  const methods = authHandler.map(({ type }) => type);
  const client = new ssh2.Client();
  const stdin = new PassThrough();
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  let failure: Error | undefined;
  let greeting = "";
  let connecting = true;

  const ended = new Promise<void>((resolve) => {
    const fail = (error: Error & { level?: string }) => {
      // Others may still let us in: an agent that does not answer is not the end.
      if (error.level === "agent") return;
      failure ??= error;
      client.destroy();
    };
    client.on("error", fail);
    client.on("greeting", (text) => (greeting = text));
    client.once("close", () => {
      stdout.end();
      resolve();
    });
    client.once("ready", () => {
      client.exec(remoteCommand, { env: { GIT_PROTOCOL: "version=2" } }, (error, channel) => {
        if (error !== undefined) return fail(error);
        connecting = false;
        stdin.pipe(channel);
        channel.pipe(stdout);
        channel.stderr.pipe(stderr);
        channel.once("close", () => client.end());
      });
    });
    client.connect({
      host: host.replace(/^\[|\]$/g, ""),
      port,
      username: usernameOf(location, credentials),
      authHandler,
      hostVerifier: (key: Buffer) => {
        const refusal = hostKeys.refuse(key);
        if (refusal !== undefined) fail(refusal);
        return refusal === undefined;
      },
      algorithms: { serverHostKey: hostKeys.algorithms as never },
      readyTimeout: idleTimeout,
      keepaliveInterval: 15_000,
    });
  });

  return {
    stdin,
    stdout,
    stderr,
    ended,
    failure: () =>
      failure === undefined
        ? undefined
        : sshError({ greeting, connecting, methods, error: failure }),
    kill() {
      client.destroy();
      stdout.destroy();
    },
  };
}
