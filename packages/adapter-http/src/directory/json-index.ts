/** Directory indexes in JSON. */
import { SourceError } from "@pannier/core/adapter";
import { UnreadableName } from "@pannier/http-client";
import type { IndexItem } from "./item.ts";
import { jsonObjects } from "./json-objects.ts";

const LIST = { opening: /^\s*\[/, closing: /^\s*\]\s*$/, empty: /^\s*null\s*$/ };

/** The children of a directory as nginx and Caddy list them. @throws SourceError `invalid` on anything else */
export async function* jsonItems(text: AsyncIterable<string>): AsyncGenerator<IndexItem[]> {
  for await (const objects of jsonObjects(text, LIST)) {
    yield objects.map((object) => ("is_dir" in object ? caddyItem(object) : nginxItem(object)));
  }
}

/** @see https://nginx.org/en/docs/http/ngx_http_autoindex_module.html#autoindex_format */
function nginxItem({ name, type, mtime, size }: Record<string, unknown>): IndexItem {
  if (type !== "file" && type !== "directory" && type !== "other") {
    throw new SourceError(
      "invalid",
      `the JSON index has ${JSON.stringify(name)} of an unknown type`,
    );
  }
  return item(name, type, Date.parse(String(mtime)), `${String(mtime)} ${String(size)}`, size);
}

/** Bits of Go's io/fs.FileMode: device, named pipe, socket, character device, irregular. */
const NOT_A_FILE = 0x0400_0000 | 0x0200_0000 | 0x0100_0000 | 0x0020_0000 | 0x0008_0000;

/** @see https://caddyserver.com/docs/caddyfile/directives/file_server#browse */
function caddyItem(object: Record<string, unknown>): IndexItem {
  const { name, size, mod_time: modified, mode, is_dir: isDirectory, is_symlink: isLink } = object;
  if (typeof isDirectory !== "boolean") {
    throw new SourceError("invalid", `the JSON index has a wrong "is_dir"`);
  }
  if (isDirectory) return item(String(name).replace(/\/$/, ""), "directory");
  if ((Number(mode) & NOT_A_FILE) !== 0) return item(name, "other");
  // Time and mode are the link's own, which says nothing of where it leads.
  if (isLink === true) return item(name, "file");
  const time = Math.floor(Date.parse(String(modified)) / 1000) * 1000;
  return item(name, "file", time, `${String(modified)} ${String(size)}`, size);
}

function item(
  name: unknown,
  kind: IndexItem["kind"],
  time = Number.NaN,
  stamp = "",
  size?: unknown,
): IndexItem {
  if (typeof name !== "string" || /^\.{0,2}$|\//.test(name)) {
    throw new SourceError(
      "invalid",
      `the JSON index has ${JSON.stringify(name)}, which is not a file name`,
    );
  }
  const failure = name.includes("\uFFFD") ? new UnreadableName(name, [name]) : undefined;
  if (kind !== "file" || Number.isNaN(time) || !Number.isSafeInteger(size))
    return { name, kind, failure };
  const modified = { time, unit: "second", utc: true } as const;
  return { name, kind, size: size as number, stamp, modified, failure };
}
