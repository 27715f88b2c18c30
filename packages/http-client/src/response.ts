/** What a request is answered with. */
export interface HttpResponse {
  readonly status: number;
  /** By lower-case name; repeated ones joined with commas. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Where the answer came from, after redirects. May hold secrets in its query. */
  readonly url: URL;
  /** Raw bytes. Fails where the connection is cut short. Either read it, or call {@link HttpResponse.discard}. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Gives the body up; a short one is read so that the connection can be used again. Never throws. */
  discard(): Promise<void>;
}
