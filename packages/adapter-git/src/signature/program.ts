/** Programs that check signatures: they see files of ours in a directory of their own, and nothing of the user's configuration. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InternalError, SourceError, UsageError } from "@pannier/core/adapter";

/** Milliseconds that checking one signature may take. */
const PATIENCE = 60_000;
/** Bytes of what such a program says. */
const MOST_SAID = 1 << 20;

/** A signature is not good, or is nobody's who is trusted. */
export class BadSignature extends InternalError {
  override readonly name = "BadSignature";
}

/** Writes files into a new directory for the length of some work. */
export async function withFiles<Result>(
  files: Readonly<Record<string, Uint8Array | string>>,
  work: (path: (name: string) => string, directory: string) => Promise<Result>,
): Promise<Result> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-signature-"));
  const path = (name: string) => join(directory, name);
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(path(name), content);
    return await work(path, directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** @throws UsageError where the program is not installed */
export async function runProgram(
  program: string,
  args: readonly string[],
  cwd: string,
  input: Uint8Array | undefined,
  signal: AbortSignal,
): Promise<Said> {
  const { PATH, TZ } = process.env;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  try {
    return await new Promise<Said>((done, failed) => {
      const child = spawn(program, args, {
        cwd,
        // Times without a zone in a list of signers are this machine's.
        env: { PATH, LC_ALL: "C", HOME: "/dev/null", ...(TZ === undefined ? {} : { TZ }) },
        stdio: ["pipe", "pipe", "pipe"],
        signal: limit,
        killSignal: "SIGKILL",
      });
      const said = { stdout: "", stderr: "" };
      for (const stream of ["stdout", "stderr"] as const)
        child[stream].setEncoding("utf8").on("data", (text: string) => {
          if (said[stream].length < MOST_SAID) said[stream] += text;
        });
      child.stdin.on("error", () => {}); // It ended first, and says why.
      child.stdin.end(input);
      child.once("error", failed);
      child.once("close", (code) => done({ code, ...said }));
    });
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted)
      throw new SourceError("invalid", `${program} took too long to check the signature`);
    const { code = "unknown" } = error as NodeJS.ErrnoException;
    throw new UsageError(
      code === "ENOENT"
        ? `${program}, which checks such signatures, is not installed`
        : `${program} cannot be run (${code})`,
      `install it: Debian and Alpine have it in ${PACKAGES[program] ?? program}`,
      { cause: error },
    );
  }
}

const PACKAGES: Readonly<Record<string, string>> = {
  "ssh-keygen": "openssh-client",
  gpgv: "gpgv",
};

/** The last line of what a program said, without the places of our files. */
export function lastLine({ stderr }: Said, directory: string): string {
  const line = stderr.replaceAll(`${directory}/`, "").trim().split("\n").at(-1) ?? "";
  return line.replace(/\r$/, "").slice(0, 300);
}
