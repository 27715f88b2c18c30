/** Content of exactly the version that was listed. */
import { type Body, type ByteRange, type Digest, SourceError } from "@pannier/core/adapter";
import {
  contentOf,
  type HttpResponse,
  ifMatch,
  isNothing,
  rangeHeader,
  rangeMismatch,
} from "@pannier/http-client";

type Headers = Readonly<Record<string, string>>;

interface ObjectRead {
  /** As messages name it. */
  readonly subject: string;
  readonly size: number | undefined;
  readonly range: ByteRange | undefined;
  /**
   * Without quotes. Sent as a condition, where it is given; where that is not met, the object is asked for once more without: it changed, or
   * what stands between gives another ETag to the store than it listed, or knows no conditions.
   */
  readonly etag?: string | undefined;
  /**
   * Asks for it, by whatever else names the version.
   *
   * @param headers of the condition, and of the part
   * @param part `undefined`: the whole
   */
  ask(headers: Headers, part: ByteRange | undefined): Promise<HttpResponse>;
  /** Whether a failure of `ask` means that the condition is not met, or not known. Default: SourceError `changed`. */
  isUnmet?(error: unknown): boolean;
  /** It was read without the condition. */
  onUnmet?(): void;
  /** Why an answer is of another version; `undefined` if it is not. Servers and proxies ignore what they do not know. */
  mismatch(response: HttpResponse): string | undefined;
  /** What the store vouches for, beside what its listing told. */
  digestOf?(response: HttpResponse, part: ByteRange | undefined): Promise<Digest | undefined>;
}

/** @throws SourceError `changed` where the answer is not what was listed; what `ask` throws */
export async function readObject(object: ObjectRead): Promise<Body> {
  const { subject, size, range, isUnmet = isChange } = object;
  // Stores refuse a part that begins where the object ends.
  if (isNothing(range, size)) return new Uint8Array(0);
  const part = range?.offset === 0 && range.length === undefined ? undefined : range;
  const ofPart: Headers = part === undefined ? {} : { range: rangeHeader(part) };
  const condition = ifMatch(object.etag === undefined ? undefined : `"${object.etag}"`);

  /** The content, or why an answer is of another version. */
  async function attempt(headers: Headers): Promise<Body | string> {
    const response = await object.ask(headers, part);
    try {
      const reason = object.mismatch(response) ?? rangeMismatch(response, size, part);
      if (reason !== undefined) {
        await response.discard();
        return reason;
      }
      const digest = await object.digestOf?.(response, part);
      const body = await contentOf(response);
      return digest === undefined ? body : Object.assign(body, { digest });
    } catch (error) {
      await response.discard();
      throw error;
    }
  }

  let unmet = false;
  const found = await attempt({ ...condition, ...ofPart }).catch((error: unknown) => {
    unmet = "if-match" in condition && isUnmet(error);
    if (!unmet) throw error;
    return attempt(ofPart);
  });
  if (typeof found === "string") throw new SourceError("changed", `${subject}: ${found}`);
  if (unmet) object.onUnmet?.();
  return found;
}

function isChange(error: unknown): boolean {
  return error instanceof SourceError && error.code === "changed";
}
