/** What tells the newest version of an object from others, by one HEAD. */
import { markerVersion } from "@pannier/object-store";
import type { Requests } from "./request.ts";

export async function inspectMarker(
  { ask }: Requests,
  key: string,
  signal: AbortSignal,
): Promise<string> {
  const response = await ask(key, { method: "HEAD", operation: "probe", signal });
  const { headers } = response;
  await response.discard();
  // Where versions are suspended each has the id "null"; where they are kept, one content may come again.
  return `${headers["x-amz-version-id"] ?? ""} ${markerVersion(response, key)}`;
}
