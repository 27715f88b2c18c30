/** Names on the volume. Whatever is made and replaced has a random name: nothing left over from a killed process stands in the way. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";

export interface Layout {
  /** Absolute. */
  readonly target: string;
  /** Our own directory in the target. */
  readonly home: string;
  readonly generations: string;
  /** Where sources keep caches. */
  readonly scratch: string;
  readonly state: string;
  readonly lock: string;
}

export const HOME = ".pannier";

export function layoutOf(target: string): Layout {
  const home = join(target, HOME);
  return {
    target,
    home,
    generations: join(home, "generations"),
    scratch: join(home, "scratch"),
    state: join(home, "state.db"),
    lock: join(home, "lock"),
  };
}

/** A name that nothing else has. */
export function randomName(prefix: string): string {
  return `${prefix}-${randomBytes(8).toString("hex")}`;
}
