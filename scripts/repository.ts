/** Where the project lives, and what follows from it for each package. The one place is `repository` of the root's manifest. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

export const ROOT = join(import.meta.dirname, "..");

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly license?: string;
  readonly description?: string;
  readonly homepage?: string;
  readonly keywords?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly files?: readonly string[];
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly repository?: {
    readonly type: string;
    readonly url: string;
    readonly directory?: string;
  };
}

/** @param directory relative to the checkout */
export function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(ROOT, directory, "package.json"), "utf8")) as Manifest;
}

/** `https://host/owner/name`, without a slash at its end. */
export function repositoryPage(): string {
  const url = readManifest(".").repository?.url ?? "";
  const page = /^git\+(https:\/\/.+)\.git$/.exec(url)?.[1];
  if (page === undefined)
    throw new Error(
      `repository.url of the root's package.json is "${url}"; git+https://….git is needed`,
    );
  return page;
}
