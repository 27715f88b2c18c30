/** The object that whoever publishes writes last: while it is the same, nothing is listed. */
import { SourceError, UsageError } from "@pannier/core/adapter";
import { type HttpResponse, versionOf } from "@pannier/http-client";

/** @param what an object is called there */
export function markerOption(what: "object" | "blob") {
  return {
    type: "string",
    description: `${what}, relative to the prefix, that you write last; while it is unchanged, Pannier lists nothing`,
    placeholder: "KEY",
  } as const;
}

/** The option as it was given. @throws UsageError where it names nothing: the prefix itself would be asked about */
export function checkMarker(marker: string | undefined): string | undefined {
  if (marker === "") throw new UsageError('option "marker" is empty');
  return marker;
}

/** What tells a version of it from others. @throws SourceError `unsupported` where the answer tells neither ETag nor date */
export function markerVersion(response: Pick<HttpResponse, "headers">, key: string): string {
  const version = versionOf(response);
  if (version !== undefined) return version;
  throw new SourceError("unsupported", `${key}: the server sends neither an ETag nor a date`, {
    hint: "leave the marker out: then everything is listed",
  });
}
