/** Which calls of a source are under way, so that one that hangs is found in seconds, and by its name. */
import type { Source } from "@pannier/core/adapter";

export interface Calls {
  /** Fails where a call takes too long. */
  watch<Value>(name: string, call: Promise<Value>): Promise<Value>;
  /** The same source; its calls, batches and chunks are watched. */
  watched(source: Source): Source;
}

/** @param limit milliseconds for a call, for a batch of a listing, and for a chunk of a body */
export function watchCalls(limit: number): Calls {
  async function watch<Value>(name: string, call: Promise<Value>): Promise<Value> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error(hangs(name, limit))), limit);
    try {
      return await Promise.race([call, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  function stream<Items extends object>(name: string, items: Items): Items {
    if (!(Symbol.asyncIterator in items)) return items;
    const all = items as Items & AsyncIterable<unknown>;
    return withMembers(all, {
      [Symbol.asyncIterator]() {
        const iterator = all[Symbol.asyncIterator]();
        return {
          next: () => watch(name, iterator.next()),
          async return() {
            if (iterator.return !== undefined) await watch(`leaving ${name}`, iterator.return());
            return { done: true, value: undefined };
          },
        };
      },
    } as Partial<typeof all>);
  }

  return {
    watch,
    watched: (source) =>
      withMembers(source, {
        probe: (...args) => watch("probe", source.probe(...args)),
        async list(...args) {
          const listing = await watch("list", source.list(...args));
          return withMembers(listing, { entries: stream("list", listing.entries) });
        },
        read: async (...args) => stream("read", await watch("read", source.read(...args))),
        close: () => watch("close", source.close()),
      }),
  };
}

/** The same, but for some of its members. */
export function withMembers<Target extends object>(
  target: Target,
  members: Partial<Target>,
): Target {
  const own = members as Readonly<Record<PropertyKey, unknown>>;
  return new Proxy(target, {
    get(_, key) {
      if (Object.hasOwn(own, key)) return own[key];
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function hangs(name: string, limit: number): string {
  return `${name} hangs: nothing came of it for ${limit / 1000} seconds. Respect \`idleTimeout\` and the signal wherever it waits`;
}
