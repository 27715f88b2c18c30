/** What a directory index tells of one child. */
import { SourceError } from "@pannier/core/adapter";

export interface IndexItem {
  /** Decoded, without a slash. */
  readonly name: string;
  /** `other`: the server says that it is not a file: a FIFO, a socket, a device, a symlink that leads nowhere. */
  readonly kind: "file" | "directory" | "other";
  /** True where it may be something else than it seems: the server has to be asked about it. */
  readonly doubtful?: boolean | undefined;
  /** Exact size in bytes; `undefined` where none is given, or one in rounded units. */
  readonly size?: number | undefined;
  /** Date and size as they stand there: changes when the file does. `undefined`: the index tells neither. */
  readonly stamp?: string | undefined;
  readonly modified?: IndexTime | undefined;
  /** Why it cannot be listed: thrown where it may be wanted. */
  readonly failure?: SourceError | undefined;
}

interface IndexTime {
  /** Milliseconds since the epoch, taken as UTC. */
  readonly time: number;
  /** `second`: surely in UTC. `minute`: that exact, and in the server's zone. */
  readonly unit: "second" | "minute";
  /** True where it is UTC unless the server is set up otherwise (nginx). */
  readonly utc: boolean;
}

export function notAnIndex({ pathname }: URL, xml = false): SourceError {
  return new SourceError("unsupported", `${pathname} is not a directory index`, {
    hint: xml
      ? "a bucket is listed by its own scheme (s3://, gs://, az://), and nginx's index is read as HTML or JSON, not as XML"
      : "have the server generate one (autoindex), or put a SHA256SUMS file there",
  });
}
