/** A lane's connection to an SFTP server: signed in, with a session of the protocol whose bytes come and go as they are. */
import { connect, type Socket } from "node:net";
import type { Client, ClientChannel } from "ssh2";
import { prepareClient, type SignIn } from "./client.ts";

export interface ByteChannel {
  write(bytes: Buffer): void;
  close(): void;
}

export interface ByteChannelEvents {
  ready(): void;
  /** Something came, from the first byte of the greeting on. */
  sign(): void;
  /** @param bytes nobody else's */
  came(bytes: Buffer): void;
  /** It could not be made, or ended. Told once. */
  gone(): void;
}

export function openByteChannel(signIn: SignIn, events: ByteChannelEvents): ByteChannel {
  let isGone = false;
  let client: Client | undefined;
  let socket: Socket | undefined;
  let channel: ClientChannel | undefined;

  function end(): void {
    if (isGone) return;
    isGone = true;
    client?.destroy();
    socket?.destroy();
    events.gone();
  }

  async function start(): Promise<void> {
    const prepared = await prepareClient(signIn, end);
    if (isGone) return;
    client = prepared.client;
    client.on("error", (error: Error & { level?: string }) => {
      // As in connection.ts.
      if (error.level !== "agent") end();
    });
    client.once("close", end);
    client.once("ready", () => prepared.client.subsys("sftp", onChannel));
    const { host, port } = signIn.trust;
    const made = connect({ host: host.replace(/^\[|\]$/g, ""), port, noDelay: true });
    socket = made;
    made.on("data", events.sign);
    made.once("error", end);
    made.once("close", end);
    made.once("connect", () => prepared.signIn(made));
  }

  function onChannel(error: Error | undefined, made: ClientChannel): void {
    if (error !== undefined || isGone) return end();
    channel = made;
    for (const event of ["error", "end", "close"]) channel.once(event, end);
    channel.on("data", events.came);
    // What is not read would stop the rest.
    channel.stderr.resume();
    events.ready();
  }

  start().catch(end);
  return { write: (bytes) => void channel?.write(bytes), close: end };
}
