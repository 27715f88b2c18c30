import { startTimer } from "@pannier/core";

/** Milliseconds that what has been told to end may take for it. */
export const SLACK = 1000;

/** Whether the work ends within so many milliseconds. */
export async function endsWithin(work: Promise<unknown>, milliseconds: number): Promise<boolean> {
  let clock: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    clock = startTimer(() => resolve(false), milliseconds);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(clock);
  }
}
