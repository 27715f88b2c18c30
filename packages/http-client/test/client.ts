/** A client that is closed after the test, and what it fails with. */
import { SourceError } from "@pannier/core/adapter";
import { expect, onTestFinished } from "vitest";
import { createHttpClient, type HttpClient, type HttpClientOptions } from "../src/index.ts";

export function client(options: Partial<HttpClientOptions> = {}): HttpClient {
  const made = createHttpClient({ idleTimeout: 5000, ...options });
  onTestFinished(() => made.close());
  return made;
}

export async function failure(promise: Promise<unknown>): Promise<SourceError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SourceError);
  return error as SourceError;
}
