import { SourceError } from "@pannier/core/adapter";

/** How an SDK failed. Its own words may quote keys and tokens, so only the name of the error is told. */
export function signInError(cloud: string, error: unknown, hint: string): SourceError {
  if (error instanceof SourceError) return error;
  const { name, code } = (error ?? {}) as { readonly name?: unknown; readonly code?: unknown };
  const why = [name, code].find((word) => typeof word === "string" && /^[\w.-]{1,60}$/.test(word));
  const told = why === undefined || why === "Error" ? "" : ` (${String(why)})`;
  return new SourceError("auth", `signing in to the registry by ${cloud} failed${told}`, { hint });
}
