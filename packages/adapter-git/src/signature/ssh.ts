/** Signatures by SSH keys, checked by `ssh-keygen` against a list of allowed signers (ssh-keygen(1), ALLOWED SIGNERS), as git does it. */
import { BadSignature, lastLine, runProgram, withFiles } from "./program.ts";
import type { SignedObject } from "./signed-object.ts";

/** @throws BadSignature, UsageError */
export async function checkSsh(
  { payload, signature, time }: SignedObject,
  allowed: Uint8Array,
  signal: AbortSignal,
): Promise<{ readonly by: string; readonly key: string }> {
  return withFiles({ allowed, signature }, async (path, directory) => {
    const common = ["-f", path("allowed"), "-s", path("signature"), `-Overify-time=${local(time)}`];
    const ask = (args: readonly string[], input?: Uint8Array) =>
      runProgram("ssh-keygen", args, directory, input, signal);
    const found = await ask(["-Y", "find-principals", ...common]);
    const principals = found.code === 0 ? found.stdout.split(/\r?\n/).filter(Boolean) : [];
    let said = found;
    for (const by of principals) {
      said = await ask(["-Y", "verify", "-n", "git", "-I", by, ...common], payload);
      const [, key] = /^Good "git" signature for .* key (\S+)\s*$/m.exec(said.stdout) ?? [];
      if (said.code === 0 && key !== undefined) return { by, key };
    }
    throw new BadSignature(lastLine(said, directory) || "ssh-keygen refuses it");
  });
}

/** YYYYMMDDHHMMSS in the time of this machine, as ssh-keygen reads it. */
function local(seconds: number): string {
  const date = new Date(seconds * 1000);
  const parts = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes()];
  const two = [...parts, date.getSeconds()].map((part) => String(part).padStart(2, "0"));
  return `${String(date.getFullYear()).padStart(4, "0")}${two.join("")}`;
}
