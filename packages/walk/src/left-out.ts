/** What a tree holds that cannot be published: FIFOs, sockets, devices. */
import { quotePath } from "@pannier/core";

/**
 * Makes what warns of it, once in the life of a source.
 *
 * @param what is left out, as the warning says it
 * @returns to be called after each whole listing with the paths it left out
 */
export function leftOutWarning(
  warn: (message: string) => void,
  what = "what is no file, directory or symlink",
): (paths: ReadonlySet<string>) => void {
  let warned = false;
  return (paths) => {
    const [first] = paths;
    if (first === undefined || warned) return;
    warned = true;
    const more = paths.size > 1 ? ` and ${paths.size - 1} more` : "";
    warn(`left out ${what}: ${quotePath(first)}${more}`);
  };
}
