/** A client of ssh, and how it signs in: the server's host key is checked before anything secret is sent. */
import type { Socket } from "node:net";
import type { Credentials, Location, SourceError } from "@pannier/core/adapter";
import { authMethods, readHostKeys, type Trust, usernameOf } from "@pannier/ssh-client";
import type { Client } from "ssh2";

/** Data, to be handed to a thread as it is. */
export interface SignIn {
  readonly location: Pick<Location, "username" | "password">;
  readonly trust: Trust;
  readonly credentials: Credentials;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface PreparedClient {
  readonly client: Client;
  /** What there is to sign in with, by ssh's names. */
  readonly methods: readonly string[];
  /** To be called once the socket is connected. */
  signIn(socket: Socket): void;
}

/**
 * Reads host keys, keys and passwords anew, so that rotated ones are taken over.
 *
 * @param refuse told why the server's host key is not trusted
 * @throws as `readHostKeys` and `authMethods`
 */
export async function prepareClient(
  { location, trust, credentials, env }: SignIn,
  refuse: (why: SourceError) => void,
): Promise<PreparedClient> {
  const { default: ssh2 } = await import("ssh2");
  const [hostKeys, methods] = await Promise.all([
    readHostKeys(trust),
    authMethods(location, credentials, env, ssh2.utils.parseKey),
  ]);
  const client = new ssh2.Client();
  return {
    client,
    methods: methods.map(({ type }) => type),
    signIn(socket) {
      client.connect({
        sock: socket,
        username: usernameOf(location, credentials),
        authHandler: methods,
        hostVerifier: (key: Buffer) => {
          const refusal = hostKeys.refuse(key);
          if (refusal !== undefined) refuse(refusal);
          return refusal === undefined;
        },
        algorithms: { serverHostKey: hostKeys.algorithms as never },
        // Ours counts while anything is owed, from the first byte to the last.
        readyTimeout: 0,
      });
    },
  };
}
