/** The URL of a file below a directory, whose query goes with it. Loaded by lanes, too. */
export function fileUrl(directory: URL, path: string): URL {
  const found = new URL(directory);
  found.pathname += path.split("/").map(encodeURIComponent).join("/");
  return found;
}
