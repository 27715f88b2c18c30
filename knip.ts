import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { KnipConfig } from "knip";

/** An index or main that holds nothing but a shebang, `export {}` or one placeholder line. */
function isPlaceholder(dir: string): boolean {
  const file = ["index.ts", "main.ts"].map((name) => `${dir}/src/${name}`).find(existsSync);
  return file !== undefined && !/^import |^export .*\bfrom\b/m.test(readFileSync(file, "utf8"));
}

// TEMPORARY: a package declares its dependencies before its source uses them. They are
// checked as soon as its index imports something; remove this once every package does.
const placeholders = ["packages", "apps"]
  .flatMap((room) => readdirSync(room).map((name) => `${room}/${name}`))
  .filter(isPlaceholder);

const config: KnipConfig = {
  workspaces: {
    ".": {
      // TEMPORARY: remove each one with its first use.
      ignoreDependencies: ["esbuild", "fast-check"],
      // Of the system, for the real servers; skipped by name where absent.
      ignoreBinaries: ["mount", "openssl", "ssh-keygen", "umount"],
    },
    // Of the system: the tests of a full volume and of shared blocks, skipped by name where not permitted.
    "packages/core": {
      // Processes that tests start by path.
      entry: ["test/*-child.ts"],
      ignoreBinaries: ["mkfifo", "mount", "umount"],
    },
    "packages/adapter-file": {
      // A thread is started by its URL.
      entry: ["src/walk-worker.ts"],
      ignoreBinaries: ["mkfifo", "mount", "umount", "unshare"],
    },
    // What the launcher starts from dist, and what a test loads by its path.
    "packages/cli": { entry: ["src/bin.ts", "test/shelf-adapter.ts"] },
    ...Object.fromEntries(placeholders.map((dir) => [dir, { ignoreDependencies: [/./] }])),
  },
};

export default config;
