/** What signs in: credentials given to Pannier, else the token that the server's own tools use. */
import { SourceError } from "@pannier/core/adapter";
import type { Authorize } from "@pannier/http-client";
import type { Forge } from "./forge.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** A token, and the variable that it is in. */
interface Token {
  readonly value: string;
  readonly from: string;
}

export function findToken(forge: Forge, env: Environment): Token | undefined {
  for (const from of forge.tokenVariables) {
    const value = (env[from] ?? "").trim();
    if (value === "") continue;
    if (/^[\x21-\x7e]+$/.test(value)) return { value, from };
    throw new SourceError(
      "auth",
      `${from} does not hold a token: it has blanks or special characters`,
    );
  }
  return undefined;
}

/**
 * Signs requests in to the server that is named in the URL, and to its API. Any other host gets only what a file of the user's names
 * for it.
 *
 * @param given signs in to one of the origins by what was given to Pannier
 */
export function makeSignIn(
  forge: Forge,
  given: (origin: string) => Authorize,
  env: Environment,
): Authorize {
  const byOrigin = new Map(forge.origins.map((origin) => [origin, given(origin)]));
  const elsewhere = given(forge.origins[0] as string);
  return async (url, method) => {
    const own = byOrigin.get(url.origin);
    const headers = await (own ?? elsewhere)(url, method);
    if (own === undefined || headers["authorization"] !== undefined) return headers;
    const token = findToken(forge, env);
    return token === undefined ? headers : { ...headers, authorization: `Bearer ${token.value}` };
  };
}
