/** `pannier completion`: the script by which a shell completes the command line. */
import { nearest, UsageError } from "@pannier/core";
import { completionScript, type Shell, SHELLS } from "../completion.ts";
import type { Invocation } from "../invocation.ts";

export async function run({ args: [shell], print }: Invocation): Promise<number> {
  if (!isShell(shell)) {
    const near = nearest(shell ?? "", SHELLS);
    throw new UsageError(
      shell === undefined ? "no shell is named" : `there is no completion for "${shell}"`,
      near === undefined ? `name one of ${SHELLS.join(", ")}` : `did you mean ${near}?`,
    );
  }
  await print(completionScript(shell).trimEnd());
  return 0;
}

function isShell(name: string | undefined): name is Shell {
  return (SHELLS as readonly (string | undefined)[]).includes(name);
}
