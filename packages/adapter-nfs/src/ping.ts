/**
 * Asks a server whether it speaks NFS, by a call that does nothing (RFC 5531: procedure 0 of every program). libnfs does
 * not tell why it could not connect, nor that something else answers.
 */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";
import { SourceError } from "@pannier/core/adapter";

export interface PingTarget {
  readonly host: string;
  readonly port: number;
  readonly program: number;
  readonly version: number;
  /** Milliseconds that the server may be silent. */
  readonly idleTimeout: number;
}

export const NFS = { program: 100_003, port: 2049 };
/** Tells version 3's ports. */
export const PORTMAPPER = { program: 100_000, version: 2, port: 111 };

const LAST_FRAGMENT = 0x8000_0000;
const CALL = 0;
const REPLY = 1;
const RPC_VERSION = 2;
const PROG_UNAVAIL = 1;
const PROG_MISMATCH = 2;
/** An accepted reply to a call that does nothing, the length before it included. */
const REPLY_SIZE = 28;

/** @throws SourceError where the server is not there, or does not speak this version of NFS; the signal's reason */
export async function ping(target: PingTarget, signal: AbortSignal): Promise<void> {
  const { host, port, program, version, idleTimeout } = target;
  const id = randomBytes(4).readUInt32BE();
  // Without credentials: each of the two that may be given is of kind 0 and empty.
  const words = [id, CALL, RPC_VERSION, program, version, 0, 0, 0, 0, 0];
  const call = Buffer.alloc(4 + words.length * 4);
  call.writeUInt32BE(LAST_FRAGMENT + words.length * 4, 0);
  for (const [index, word] of words.entries()) call.writeUInt32BE(word, 4 + index * 4);

  const reply = await new Promise<Buffer>((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket = connect({ host, port, noDelay: true });
    const onAbort = () => fail(signal.reason);
    const end = () => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
    };
    const fail = (error: unknown) => {
      end();
      reject(error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) return onAbort();
    socket.setTimeout(idleTimeout, () => fail(unavailable("the server did not answer in time")));
    socket.on("error", (error) => fail(connectionError(error)));
    socket.on("connect", () => socket.write(call));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      // Whatever does not begin as the answer to this call is something else's.
      const begin = received.subarray(4, 8);
      const foreign = begin.length === 4 && begin.readUInt32BE() !== id;
      if (received.length < REPLY_SIZE && !foreign) return;
      end();
      if (foreign) reject(otherProtocol());
      else resolve(received);
    });
    socket.on("close", () => fail(unavailable("the server ended the connection")));
  });

  if (reply.readUInt32BE(8) !== REPLY) throw otherProtocol();
  const denied = reply.readUInt32BE(12) !== 0;
  // The one who asks again, with credentials, will be told why.
  if (denied) return;
  const state = reply.readUInt32BE(24);
  if (state === PROG_UNAVAIL || (state === PROG_MISMATCH && program !== NFS.program)) {
    throw otherProtocol();
  }
  if (state !== PROG_MISMATCH) return;
  const other = version === 4 ? "3" : "4";
  throw new SourceError("unsupported", `the server does not speak version ${version} of NFS`, {
    hint: `try ?version=${other}`,
  });
}

function otherProtocol(): SourceError {
  return new SourceError("unavailable", "the server does not speak NFS", {
    hint: "check the port in the URL",
    transient: false,
  });
}

function connectionError(error: NodeJS.ErrnoException): SourceError {
  if (error.code === "ECONNREFUSED") {
    return unavailable("the connection was refused", "check the host and the port", error);
  }
  if (error.code === "ETIMEDOUT") {
    return unavailable("the server did not answer in time", undefined, error);
  }
  const code = error.code === undefined ? "" : ` (${error.code})`;
  return unavailable(`the connection broke${code}`, undefined, error);
}

function unavailable(message: string, hint?: string, cause?: unknown): SourceError {
  return new SourceError("unavailable", message, { hint, cause });
}
