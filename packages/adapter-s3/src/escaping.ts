/** Whether the keys of a listing are escaped: servers say so and do not do it, or do it and do not say so. */
import { SourceError } from "@pannier/core/adapter";
import { isEscaped } from "./page.ts";
import { Declined, type Requests } from "./request.ts";

/**
 * @returns reads it from a page; `undefined` where the page says it, and nothing in it depends on that. What has to be asked for is asked
 *   for once
 */
export function makeEscaping({ ask, place }: Requests) {
  let escaped: Promise<boolean> | undefined;
  return async (text: string, signal: AbortSignal): Promise<boolean | undefined> => {
    // Amazon does what it says.
    if (escaped !== undefined || new URL((await place()).base).host.endsWith(".amazonaws.com"))
      return escaped;
    const found = isEscaped(text);
    if (typeof found === "boolean") return found;
    escaped ??= askEscaped(ask, found, signal);
    return escaped.catch((error: unknown) => {
      escaped = undefined;
      throw error;
    });
  };
}

/** Asks for one key in both of its readings. */
async function askEscaped(
  ask: Requests["ask"],
  { told, plain, unescaped }: Exclude<ReturnType<typeof isEscaped>, boolean>,
  signal: AbortSignal,
): Promise<boolean> {
  const isThere = async (key: string) => {
    try {
      await ask(key, {
        method: "HEAD",
        operation: "list",
        signal,
        decline: ({ status }) => status === 404,
      });
      return true;
    } catch (error) {
      if (error instanceof Declined) return false;
      signal.throwIfAborted();
      // May not be asked about: then what the page says has to do.
      if (error instanceof SourceError && !error.transient) return undefined;
      throw error;
    }
  };
  // By a key that is not UTF-8 nothing can be asked for.
  if (unescaped === undefined) return told && (await isThere(plain)) !== true;
  const [asTold, other] = told ? [unescaped, plain] : [plain, unescaped];
  if ((await isThere(asTold)) !== false) return told;
  return (await isThere(other)) === true ? !told : told;
}
