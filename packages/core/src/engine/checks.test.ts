import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  array,
  assert,
  constant,
  constantFrom,
  oneof,
  property,
  tuple,
  uniqueArray,
} from "fast-check";
import { describe, expect, it } from "vitest";
import { staysInside } from "./checks.ts";

const name = constantFrom("a", "b", "c");
const directories = ["a", "b", "c", "a/a", "a/b", "b/c", "a/b/c"];
const segments = array(oneof(name, constant(".."), constant(".")), {
  minLength: 1,
  maxLength: 6,
});

describe("staysInside", () => {
  it("agrees with the kernel wherever the kernel can resolve a link", () => {
    expect.hasAssertions();
    assert(
      property(
        uniqueArray(tuple(constantFrom("l", "a/l", "a/b/l", "b/l", "a/a/m"), segments), {
          selector: ([path]) => path,
          minLength: 1,
        }),
        (links) => {
          // Deep enough that no `..` reaches the real root, where the kernel stops counting.
          const outside = mkdtempSync(join(tmpdir(), "pannier-links-"));
          const root = join(outside, "1/2/3/4/5/6/7/8/9/root");
          try {
            for (const directory of ["", ...directories])
              mkdirSync(join(root, directory), { recursive: true });
            for (const [path, target] of links) symlinkSync(target.join("/"), join(root, path));
            const targets = new Map<string, string>(
              links.map(([path, target]) => [path, target.join("/")]),
            );
            const missed = [...targets].filter(([path, target]) => {
              const resolved = tryResolve(join(root, path));
              const leaves =
                resolved !== undefined && resolved !== root && !resolved.startsWith(`${root}/`);
              return leaves && staysInside(path, target, (at) => targets.get(at));
            });
            expect(missed).toEqual([]);
          } finally {
            rmSync(outside, { recursive: true });
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("follows a chain of links, and takes a loop for harmless", () => {
    const links = new Map([
      ["x", "y"],
      ["y", "d/z"],
      ["d/z", "../../out"],
      ["loop", "loop"],
    ]);
    const at = (path: string) => links.get(path);
    expect(staysInside("x", "y", at)).toBe(false);
    expect(staysInside("loop", "loop", at)).toBe(true);
  });

  it("follows as many links as Linux does", () => {
    expect(chain(40)).toBe(false);
    // One to spare; then it leads nowhere.
    expect(chain(41)).toBe(false);
    expect(chain(42)).toBe(true);
  });
});

/** Whether a chain of links that leads out is seen to. */
const chain = (length: number) => {
  const next = (i: number) => (i === length - 1 ? "../out" : `l${i + 1}`);
  const links = new Map(Array.from({ length }, (_, i) => [`l${i}`, next(i)]));
  return staysInside("l0", next(0), (path) => links.get(path));
};

function tryResolve(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
