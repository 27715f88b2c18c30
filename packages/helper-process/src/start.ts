/** Starting a helper process, and talking to it. */
import { spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { createFrameReader, encodeFrame } from "./frames.ts";

/** The descriptor by which a helper process gets and sends messages. Its standard output is left to what the library prints. */
export const CHANNEL = 3;

export interface HelperProcessInit<Message> {
  /** The helper's module. */
  readonly script: URL;
  /** All of its environment: what is secret, or of no concern to it, is not in there. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Something came from it, if only a part of a message. */
  readonly onSign?: () => void;
  readonly onMessage: (message: Message, body: Buffer) => void;
  /** It could not be started, ended, or sent something other than a message. @param why to be put behind "the process" */
  readonly onEnd: (why: string) => void;
}

export interface HelperProcess {
  readonly pid: number | undefined;
  send(message: object): void;
  /** At once, whatever it does. It is told as an end. */
  kill(): void;
}

export function startHelperProcess<Message>({
  script,
  env,
  onSign,
  onMessage,
  onEnd,
}: HelperProcessInit<Message>): HelperProcess {
  const child = spawn(
    process.execPath,
    [
      // What makes Node take sources; and little memory: a helper holds next to nothing for long.
      ...process.execArgv.filter((argument) =>
        /^--(experimental-strip-types|conditions=.*)$/.test(argument),
      ),
      "--max-semi-space-size=1",
      fileURLToPath(script),
    ],
    { stdio: ["ignore", "ignore", "ignore", "pipe"], env },
  );
  child.once("error", ({ code }: NodeJS.ErrnoException) => onEnd(`could not be started (${code})`));
  child.once("exit", (code, signal) => onEnd(`ended (${signal ?? `exit code ${code}`})`));
  // For want of descriptors there are no streams at all, and the error comes later.
  const channel = (child.stdio as typeof child.stdio | undefined)?.[CHANNEL] as Duplex | undefined;
  let messages: [message: Message, body: Buffer][] = [];
  const take = createFrameReader<Message>((...message) => messages.push(message));
  channel?.on("error", () => {});
  channel?.on("data", (piece: Buffer) => {
    onSign?.();
    try {
      take(piece);
      // It was copied. The collector would let some hundred of them wait: 60 MiB more at the peak of a large file.
      if (piece.length === piece.buffer.byteLength) (piece.buffer as ArrayBuffer).transfer(0);
    } catch {
      channel.destroy();
      return onEnd("sent something other than a message");
    }
    const whole = messages;
    messages = [];
    for (const message of whole) onMessage(...message);
  });
  return {
    pid: child.pid,
    send(message) {
      for (const part of encodeFrame(message)) channel?.write(part);
    },
    kill: () => child.kill("SIGKILL"),
  };
}
