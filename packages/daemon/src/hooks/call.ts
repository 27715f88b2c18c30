/** A hook that is an HTTP call. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { startTimer } from "@pannier/core";
import type { CallConfig } from "../config/config.ts";
import { HookFailure, type HookSubject } from "./command.ts";

/**
 * Redirects are not followed: the headers, which may hold a secret, go nowhere but to the URL that is configured.
 *
 * @throws HookFailure; the signal's reason
 */
export async function callUrl(
  { url, method, headers, timeout }: CallConfig,
  subject: HookSubject,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const body =
    method === "GET"
      ? ""
      : JSON.stringify({
          mount: subject.mount,
          revision: subject.revision,
          previousRevision: subject.previousRevision ?? null,
        });
  const { protocol, username, password } = new URL(url);
  // See the HTTP port: an `import` loads more than is needed.
  const { request } = process.getBuiltinModule(protocol === "https:" ? "node:https" : "node:http");
  const call = request(url, {
    method,
    agent: false,
    auth:
      username === ""
        ? undefined
        : `${decodeURIComponent(username)}:${decodeURIComponent(password)}`,
    headers: {
      ...(body === "" ? {} : { "content-type": "application/json" }),
      "content-length": Buffer.byteLength(body),
      "user-agent": "pannier",
      ...headers,
    },
  });
  let timedOut = false;
  const onAbort = () => call.destroy();
  const clock = startTimer(() => {
    timedOut = true;
    call.destroy();
  }, timeout);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    call.end(body);
    const [{ statusCode = 0 }] = (await once(call, "response")) as [IncomingMessage];
    if (statusCode < 200 || statusCode > 299)
      throw new HookFailure(`it was answered with status ${statusCode}`);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof HookFailure) throw error;
    if (timedOut)
      throw new HookFailure(`it was not answered within ${timeout / 1000} s`, { timedOut: true });
    const { code } = error as NodeJS.ErrnoException;
    throw new HookFailure(`it failed (${code ?? (error as Error).message})`, { cause: error });
  } finally {
    clearTimeout(clock);
    signal.removeEventListener("abort", onAbort);
    call.on("error", () => {});
    call.destroy();
  }
}
