/** What `git ls-tree` prints. */
import { decodeAll, decodeName } from "../names.ts";
import { unknownItems } from "../tree.ts";
import { CacheDamaged, isSubmodule, type ObjectStore, type TreeItem } from "./store.ts";

/** `ls-tree` says "submodule" of every type that it does not know: the trees themselves are asked. */
export async function withTrueModes(
  store: ObjectStore,
  root: string,
  items: readonly TreeItem[],
): Promise<readonly TreeItem[]> {
  if (!items.some(({ mode }) => isSubmodule(mode))) return items;
  const corrected: TreeItem[] = [];
  let known: { directory: string; unknown: ReadonlyMap<string, number> } | undefined;
  for (const item of items) {
    // What has no path is not published, whatever it is.
    if (!isSubmodule(item.mode) || item.failure !== undefined) {
      corrected.push(item);
      continue;
    }
    const slash = item.path.lastIndexOf("/");
    const directory = item.path.slice(0, Math.max(0, slash));
    if (known?.directory !== directory)
      known = { directory, unknown: await unknownItems(store, root, directory) };
    corrected.push({ ...item, mode: known.unknown.get(item.path.slice(slash + 1)) ?? item.mode });
  }
  return corrected;
}

/** `<mode> <type> <oid> <size>\t<path>\0`…: https://git-scm.com/docs/git-ls-tree#_output_format */
export function parseListing(bytes: Buffer): TreeItem[] {
  const items: TreeItem[] = [];
  const whole = decodeAll(bytes);
  const text = whole ?? bytes.toString("latin1");
  for (let at = 0; at < text.length;) {
    const tab = text.indexOf("\t", at);
    const end = text.indexOf("\0", tab);
    const [mode = "", , oid = "", ...padded] = text.slice(at, tab).split(" ");
    const size = padded.at(-1) ?? "";
    // A blob that is not there is "BAD".
    if (size === "BAD") throw new CacheDamaged("a blob is missing");
    const name = text.slice(tab + 1, end);
    items.push({
      mode: Number.parseInt(mode, 8),
      oid,
      ...(whole === undefined ? decodeName(Buffer.from(name, "latin1")) : { path: name }),
      size: size === "-" ? undefined : Number(size),
    });
    at = end + 1;
  }
  return items;
}
