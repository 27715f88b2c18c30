/** Paths of several tables. */
import { comparePaths } from "../source/path.ts";

/** In order; each may come more than once. */
export type Paths = Iterable<{ readonly path: string }>;

/** Each path once, in order. SQLite may sort all of them before it gives the first, which takes as long as there are many. */
export function* mergePaths(lists: readonly Paths[]): Generator<{ path: string }> {
  const iterators = lists.map((list) => list[Symbol.iterator]());
  try {
    const heads = iterators.map((iterator) => iterator.next());
    for (;;) {
      let first: string | undefined;
      for (const head of heads)
        if (head.done !== true && (first === undefined || comparePaths(head.value.path, first) < 0))
          first = head.value.path;
      if (first === undefined) return;
      yield { path: first };
      for (const [index, iterator] of iterators.entries())
        while (heads[index]?.done !== true && heads[index]?.value.path === first)
          heads[index] = iterator.next();
    }
  } finally {
    for (const iterator of iterators) iterator.return?.();
  }
}
