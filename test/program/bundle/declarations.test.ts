/** What each adapter of ours says that it needs, against what its sources make use of. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CHECKOUT } from "./support.ts";

/** Program or library, as sources name it → package of Debian, package of Alpine. */
const SYSTEM: Readonly<Record<string, readonly [debian: string, alpine: string]>> = {
  git: ["git", "git"],
  ssh: ["openssh-client", "openssh-client"],
  "ssh-keygen": ["openssh-client", "openssh-client"],
  gpgv: ["gpgv", "gpgv"],
  "libsmbclient.so.0": ["libsmbclient", "libsmbclient"],
  // Of Debian 12 and of Debian 13.
  "libnfs.so.13": ["libnfs13 | libnfs14", "libnfs"],
  "libnfs.so.14": ["libnfs13 | libnfs14", "libnfs"],
};

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly pannier?: Readonly<
    Partial<Record<"debian" | "alpine" | "native" | "threads", string[]>>
  >;
}

const packages = readdirSync(join(CHECKOUT, "packages")).filter(
  (name) => name.startsWith("adapter-") && name !== "adapter-kit",
);

test.each(packages)("%s", (name) => {
  const directory = join(CHECKOUT, "packages", name);
  const manifest = readManifest(directory);
  const { debian = [], alpine = [], native = [], threads = [] } = manifest.pannier ?? {};
  const text = sourcesOf(join(directory, "src"));

  const used = [...programsIn(text), ...matches(text, /"(lib[\w-]+\.so\.\d+)"/g)];
  const system = used.map((one) => {
    expect(SYSTEM, `the system package of ${one}`).toHaveProperty([one]);
    return SYSTEM[one] as readonly [string, string];
  });
  expect(debian.toSorted()).toEqual(sorted(system.map(([package_]) => package_)));
  expect(alpine.toSorted()).toEqual(sorted(system.map(([, package_]) => package_)));
  expect(native.toSorted()).toEqual(
    Object.keys(manifest.dependencies ?? {})
      .filter(hasNativeCode)
      .toSorted(),
  );
  expect(threads.toSorted()).toEqual(modulesStartedIn(text));
});

/** First arguments of what starts a process, and `program:` of what describes one. Not those of a database's `exec`. */
function programsIn(text: string): string[] {
  return [
    ...matches(
      text,
      /(?<![.\w])(?:spawn|spawnSync|exec|execFile|execFileSync|runProgram)\(\s*"([\w-]+)"/g,
    ),
    ...matches(text, /\bprogram: "([\w-]+)"/g),
  ];
}

/** Modules that are named by their place beside the one that names them. */
function modulesStartedIn(text: string): string[] {
  return sorted([
    ...matches(
      text,
      /new URL\(\s*["`]\.\/([\w-]+)(?:\$\{[^}]*\}|\.[jt]s)["`],\s*import\.meta\.url/g,
    ),
    ...matches(text, /\blaneBeside\(import\.meta\.url, "([\w-]+)"/g),
  ]);
}

function matches(text: string, pattern: RegExp): string[] {
  return sorted(Array.from(text.matchAll(pattern), ([, found = ""]) => found));
}

function sorted(values: readonly string[]): string[] {
  return [...new Set(values)].toSorted();
}

function sourcesOf(directory: string): string {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"))
    .map((path) => readFileSync(join(directory, path), "utf8"))
    .join("\n");
}

/** Packages whose code is compiled say so by what they do when they are installed, or by the packages for each system. */
function hasNativeCode(dependency: string): boolean {
  const {
    scripts = {},
    optionalDependencies = {},
    gypfile,
    binary,
  } = readManifest(join(CHECKOUT, "node_modules", dependency)) as {
    readonly scripts?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
    readonly gypfile?: boolean;
    readonly binary?: unknown;
  };
  return (
    gypfile === true ||
    binary !== undefined ||
    Object.keys(optionalDependencies).some((name) => /linux-(x64|arm64)/.test(name)) ||
    /gyp|prebuild|cnoke/.test(scripts["install"] ?? "")
  );
}

function readManifest(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, "package.json"), "utf8")) as Manifest;
}
