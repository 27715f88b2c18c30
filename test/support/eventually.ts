import { vi } from "vitest";

/** Waits until a check passes, for what no event tells of. Vitest's own way gives up after a second, which is nothing on a busy machine. */
export function eventually<Result>(check: () => Result | Promise<Result>): Promise<Result> {
  return vi.waitFor(check, { timeout: 50_000, interval: 5 });
}
