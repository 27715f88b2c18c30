import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLooks } from "./shown.ts";

const place = (target: string) => ({ target, publish: "swap" as const, link: "current" });
const FOUND = { shown: true, free: 1 };

describe("looks at volumes", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("leaves threads to others, however many volumes do not answer", async () => {
    const hung = new Set(["/a", "/b", "/c", "/d"]);
    const answers: (() => void)[] = [];
    let underWay = 0;
    let most = 0;
    const looks = createLooks(async ({ target }) => {
      most = Math.max(most, ++underWay);
      await new Promise<void>((resolve) => {
        if (hung.has(target)) answers.push(resolve);
        else setTimeout(resolve, 10);
      });
      underWay--;
      return FOUND;
    });
    const ask = async (targets: string[]) => {
      const asked = Promise.all(targets.map((target) => looks.at(place(target))));
      await vi.advanceTimersByTimeAsync(1000);
      return asked;
    };
    // Many that answer have their turn one after the other.
    const many = Array.from({ length: 50 }, (_, i) => `/many/${i}`);
    expect(await ask([...many, "/well"])).toEqual(Array.from({ length: 51 }, () => FOUND));
    expect(most).toBe(2);
    // One is hung: it shows nothing, and the others do.
    expect(await ask(["/a", "/well"])).toEqual([undefined, FOUND]);
    // Two and more: of those that nobody could look at, what they showed last is believed, and nothing of those that never showed anything.
    expect(await ask(["/b", "/c", "/d", "/well", "/new"])).toEqual([
      undefined,
      undefined,
      undefined,
      FOUND,
      undefined,
    ]);
    expect(await ask(["/a", "/b", "/well"])).toEqual([undefined, undefined, FOUND]);
    expect({ most, asked: answers.length }).toEqual({ most: 2, asked: 2 });
    // They answer again.
    hung.clear();
    for (const answer of answers) answer();
    expect(await ask(["/a", "/b", "/c", "/d", "/well", "/new"])).toEqual(
      Array.from({ length: 6 }, () => FOUND),
    );
    expect(underWay).toBe(0);
  });
});
