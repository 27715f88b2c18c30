import { existsSync } from "node:fs";
import { join } from "node:path";

/** Where the program runs from its sources, the packages beside it are taken from theirs too. */
export function conditionsOf(program: string): string[] {
  return runsFromSources(program) ? ["pannier-source"] : [];
}

export function extensionOf(program: string): ".ts" | ".js" {
  return runsFromSources(program) ? ".ts" : ".js";
}

function runsFromSources(program: string): boolean {
  return existsSync(join(program, "bin.ts"));
}
