import { homedir } from "node:os";
import { join } from "node:path";

/** A file in the user's `.ssh`; `undefined` where the user has no home: a uid that the system does not know, without HOME. */
export function ownFile(name: string): string | undefined {
  try {
    return join(homedir(), ".ssh", name);
  } catch {
    return undefined;
  }
}
