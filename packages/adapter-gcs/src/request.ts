/**
 * A question to the JSON API, on the shared connections, by what the connection signs in with.
 *
 * @see https://cloud.google.com/storage/docs/json_api/v1
 */
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { withOtherKeys } from "@pannier/object-store";
import type { Connection, Opened } from "./connection.ts";
import { queryOf } from "./content.ts";
import { answerError, type Asked } from "./errors.ts";

type Query = Readonly<Record<string, string | undefined>>;

interface GetRequest {
  readonly url: string;
  /** Where the URL has none yet. */
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly operation: string;
  readonly asked: Asked;
  readonly signal: AbortSignal;
}

export interface Bucket {
  readonly http: HttpClient;
  readonly connection: Connection;
}

/** @throws SourceError for any answer but 200 and 206 */
export async function get(
  { http, connection }: Bucket,
  opened: Opened,
  request: GetRequest,
): Promise<HttpResponse> {
  const { url, query, headers, operation, asked, signal } = request;
  const response = await http.request(query === undefined ? url : `${url}?${queryOf(query)}`, {
    headers: { ...headers, ...opened.headers },
    expect: "any",
    redirect: "manual",
    subject: asked.kind === "object" ? asked.key : undefined,
    operation,
    signal,
  });
  const { status } = response;
  if (status === 401) {
    const again = connection.refused(opened);
    const error = await answerError(response, asked);
    throw again ? withOtherKeys(error) : error;
  }
  if (status !== 200 && status !== 206) throw await answerError(response, asked);
  connection.accepted(opened);
  return response;
}
