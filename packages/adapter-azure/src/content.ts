/** Where blobs are. */

/** Names with characters that XML cannot hold are encoded since 2021-02-12, and kinds of entries told since 2020-10-02. Azure Stack and emulators lag behind, hence not the newest. */
export const VERSION = "2021-12-02";

export function containerUrl(endpoint: URL, container: string): string {
  return `${endpoint.href.replace(/\/+$/, "")}/${container}`;
}

/** @param base that of the container */
export function blobUrl(base: string, key: string): string {
  return `${base}/${encodeKey(key)}`;
}

/** A key as a path. A segment of dots would be taken for a step in it, by the URL class already; the service takes an encoded slash for a slash. */
export function encodeKey(key: string): string {
  const segments = key.split("/").map(encodeURIComponent);
  return segments.join(segments.some((each) => /^\.\.?$/.test(each)) ? "%2F" : "/");
}
