/** A question to S3: signed here, on the shared connections, and sent to where the bucket is. */
import { InternalError } from "@pannier/core/adapter";
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { withOtherKeys } from "@pannier/object-store";
import type { Connection, Place } from "./connection.ts";
import {
  isElsewhere,
  isExpired,
  isUnexplained,
  isUnknown,
  readRefusal,
  type Refusal,
  refusalError,
} from "./errors.ts";
import { createSigner, encodePath, type Keys, queryOf } from "./sign.ts";

export interface Request {
  readonly method?: "GET" | "HEAD";
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Refusals that are thrown as {@link Declined}: what was asked for can be had in another way. */
  readonly decline?: (refusal: Refusal) => boolean;
  readonly operation: string;
  readonly signal: AbortSignal;
}

/** The server does not do what was asked of it, or says that a condition is not met. */
export class Declined extends InternalError {
  constructor() {
    super("the server declined");
  }
}

export interface Requests {
  /**
   * @param key `undefined`: the bucket
   * @throws Declined; SourceError for any other answer but 200 and 206
   */
  ask(key: string | undefined, request: Request): Promise<HttpResponse>;
  /** Where the bucket is, as far as is known. */
  place(): Promise<Place>;
}

export function makeRequests(init: {
  readonly http: HttpClient;
  readonly connection: Connection;
  readonly requesterPays: boolean;
  /** Keys that were listed as archived: an object that cannot be read for that names them. */
  readonly archived: ReadonlySet<string>;
}): Requests {
  const { http, connection, requesterPays, archived } = init;
  const sign = createSigner();
  let place: Promise<Place> | undefined;
  /** Keys that the server took: where it takes them no more, there may be others. */
  const good = new WeakSet<Keys>();

  const current = () => (place ??= connection.place());
  return { ask, place: current };

  async function ask(key: string | undefined, request: Request): Promise<HttpResponse> {
    const { method = "GET", query = {}, operation, signal } = request;
    for (let moved = false; ; moved = true) {
      signal.throwIfAborted();
      const where = await current();
      const keys = await connection.keys();
      signal.throwIfAborted();
      const search = queryOf(query);
      const path = key === undefined ? where.base.slice(0, -1) : where.base + encodePath(key);
      const url = new URL(search === "" ? path : `${path}?${search}`);
      const headers = {
        ...request.headers,
        ...(requesterPays ? { "x-amz-request-payer": "requester" } : {}),
      };
      const response = await http.request(url, {
        method,
        headers:
          keys === undefined ? headers : sign({ method, url, headers }, keys, where, new Date()),
        expect: "any",
        redirect: "manual",
        subject: key,
        operation,
        signal,
      });
      if (response.status === 200 || response.status === 206) {
        if (keys !== undefined) good.add(keys);
        return response;
      }
      const refusal = await readRefusal(response);
      signal.throwIfAborted();
      if (request.decline?.(refusal) === true) throw new Declined();
      if (!moved && isElsewhere(refusal) && refusal.region !== where.region) {
        place = connection.place(refusal.region);
        continue;
      }
      if (method === "HEAD" && operation === "probe" && isUnexplained(refusal)) {
        return ask(key, { ...request, method: "GET" });
      }
      const error = refusalError(refusal, key, operation === "read", archived);
      const worthwhile =
        keys !== undefined && (isExpired(refusal) || (isUnknown(refusal) && good.has(keys)));
      throw worthwhile && (await connection.renew(keys)) ? withOtherKeys(error) : error;
    }
  }
}
