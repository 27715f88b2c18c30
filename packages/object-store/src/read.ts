/** Content of exactly the version that was listed. */
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import {
  contentOf,
  type HttpResponse,
  isNothing,
  rangeHeader,
  rangeMismatch,
} from "@pannier/http-client";

interface ObjectRead {
  /** As messages name it. */
  readonly subject: string;
  readonly size: number | undefined;
  readonly range: ByteRange | undefined;
  /**
   * Asks for it, by whatever names the version.
   *
   * @param headers of the part, where it is one
   */
  ask(headers: Readonly<Record<string, string>>): Promise<HttpResponse>;
  /** Why an answer is of another version; `undefined` if it is not. Servers and proxies ignore what they do not know. */
  mismatch(response: HttpResponse): string | undefined;
}

/** @throws SourceError `changed` where the answer is not what was listed; what `ask` throws */
export async function readObject({ subject, size, range, ...how }: ObjectRead): Promise<Body> {
  // Stores refuse a part that begins where the object ends.
  if (isNothing(range, size)) return new Uint8Array(0);
  const part = range !== undefined && (range.offset > 0 || range.length !== undefined);
  const response = await how.ask(part ? { range: rangeHeader(range) } : {});
  const reason = how.mismatch(response) ?? rangeMismatch(response, size, part ? range : undefined);
  if (reason !== undefined) {
    await response.discard();
    throw new SourceError("changed", `${subject}: ${reason}`);
  }
  return contentOf(response);
}
