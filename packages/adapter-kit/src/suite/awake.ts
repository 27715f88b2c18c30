import { setTimeout as sleep } from "node:timers/promises";

const STEP = 20;

/**
 * Waits for so many milliseconds in which this process can do something. On a busy machine, it has to wait for a
 * processor as well, so each of the steps takes longer: an adapter is not to blame for that.
 */
export async function awake(milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= STEP)
    await sleep(STEP, undefined, { ref: false });
}
