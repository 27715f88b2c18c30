/** What signs in, where Hugging Face's own tools look for it: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { SourceError, UsageError } from "@pannier/core/adapter";
import type { Authorize } from "@pannier/http-client";
import { isExposed } from "@pannier/object-store";

type Environment = Readonly<Record<string, string | undefined>>;

/** A token, and in words where it was found. */
export interface Token {
  readonly value: string;
  readonly from: string;
}

/** @returns `undefined` where there is none: public repositories need none */
export async function findToken(env: Environment): Promise<Token | undefined> {
  const value = (env["HF_TOKEN"] ?? "").trim();
  if (value !== "") return { value: checked(value, "HF_TOKEN"), from: "HF_TOKEN" };
  const cache = env["XDG_CACHE_HOME"] || (env["HOME"] && join(env["HOME"], ".cache"));
  const home = env["HF_HOME"] || (cache && join(cache, "huggingface"));
  const file = env["HF_TOKEN_PATH"] || (home && join(home, "token"));
  if (!file) return undefined;
  try {
    const text = (await readFile(file, "utf8")).trim();
    return text === "" ? undefined : { value: checked(text, file), from: file };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") {
      if (!env["HF_TOKEN_PATH"]) return undefined;
    } else if (error instanceof SourceError) throw error;
    throw new SourceError("auth", `the token file ${file} cannot be read (${code})`, {
      cause: error,
    });
  }
}

function checked(token: string, from: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new SourceError(
    "auth",
    `${from} does not hold a token: it has blanks or special characters`,
  );
}

/**
 * Signs requests to the Hub in. Credentials that were given to Pannier go before those of Hugging Face's tools.
 *
 * @param given for the Hub's origin as well
 * @throws UsageError instead of sending a token to the Hub so that others can read it
 */
export function withToken(given: Authorize, hub: URL, env: Environment): Authorize {
  return async (url, method) => {
    const headers = await given(url, method);
    if (url.origin !== hub.origin) return headers;
    const own = headers["authorization"];
    const token = own === undefined ? await findToken(env) : undefined;
    if (own === undefined && token === undefined) return headers;
    if (isExposed(hub)) {
      const what = token === undefined ? "what was given to Pannier" : `the token of ${token.from}`;
      throw new UsageError(
        `${what} would be sent over plain http to the Hub`,
        "use https in HF_ENDPOINT or the option endpoint, or give no token",
      );
    }
    return token === undefined ? headers : { ...headers, authorization: `Bearer ${token.value}` };
  };
}
