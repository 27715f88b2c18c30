import type { EventEmitter } from "node:events";

/** What the program touches outside itself, so that a test can hand it another one. */
export interface ProcessContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Where the signals of the operating system arrive. */
  readonly signals: EventEmitter;
}

export interface Output {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  /** @returns false when the reader is slow and `drain` should be waited for */
  write(text: string): boolean;
  once(event: "drain", listener: () => void): unknown;
}
