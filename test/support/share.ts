/** Directories on this machine that a server of files serves, as stores for the conformance suite. */
import { randomBytes } from "node:crypto";
import { chmod, lutimes, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Route, SourceAddress, Store, StoreFile, StoreFiles } from "@pannier/adapter-kit";

export interface ShareInit {
  /** Where stores are made. */
  readonly parent: string;
  readonly server: { readonly host: string; readonly port: number };
  /** How to open a directory of the server's machine. */
  readonly address: (directory: string, port: number, route: Route) => SourceAddress;
  /** Whether the server reads as another user than this one: then a directory can be kept from it. */
  readonly otherUser?: boolean | undefined;
}

/** Whole seconds in the past: protocols that tell no less cannot tell apart what changes within one. */
let clock = Math.floor(Date.now() / 1000) - 86_400;

/** Makes a store as the harness of the suite wants it. */
export async function makeShare(files: StoreFiles, init: ShareInit): Promise<Store> {
  const root = await mkdtemp(join(init.parent, `share-${randomBytes(2).toString("hex")}-`));
  await chmod(root, 0o755);
  const change = async (changes: StoreFiles) => {
    const time = ++clock;
    for (const [path, file] of changes) {
      if (file === undefined) await rm(join(root, path), { recursive: true });
    }
    for (const [path, file] of changes) {
      if (file !== undefined) await put(join(root, path), file, time);
    }
  };
  await change(files);
  return {
    source: (route) =>
      init.address(join(root, route.directory ?? ""), route.port ?? init.server.port, route),
    change,
    ...(init.otherUser === true && {
      deny: (directory: string) => chmod(join(root, directory), 0o700),
    }),
    server: init.server,
    close: () => rm(root, { recursive: true }),
  };
}

async function put(path: string, file: StoreFile, time: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  if (file.kind === "symlink") await symlink(file.target, path);
  else {
    await writeFile(path, file.content);
    if (file.mode !== undefined) await chmod(path, file.mode);
  }
  await lutimes(path, time, time);
}
