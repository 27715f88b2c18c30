import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { FROM_SOURCES } from "./test/support/from-sources.ts";

// The processes and threads that tests start run the sources, whose types Node would strip anew in each of them.
process.env["NODE_COMPILE_CACHE"] ??= join(import.meta.dirname, "node_modules/.cache/node");

// Workspace packages resolve to their sources, so that tests need no build. Not by "module": what some packages have for
// bundlers does not run in Node.
const fromSources = {
  ssr: { resolve: { conditions: ["pannier-source", "node", "development|production"] } },
};

export default defineConfig({
  test: {
    reporters: ["default", "./test/support/summary-reporter.ts"],
    pool: "forks",
    maxWorkers: 4,
    // For the threads that the sources start.
    execArgv: [...FROM_SOURCES],
    testTimeout: 20_000,
    hookTimeout: 20_000,
    passWithNoTests: true,
    projects: [
      {
        ...fromSources,
        extends: true,
        test: {
          name: "unit",
          include: [
            "packages/*/src/**/*.test.ts",
            "packages/*/test/**/*.test.ts",
            "apps/*/{src,test}/**/*.test.ts",
            "examples/*/src/**/*.test.ts",
            "test/support/**/*.test.ts",
            "test/docs/**/*.test.ts",
          ],
        },
      },
      {
        ...fromSources,
        extends: true,
        test: { name: "program", include: ["test/program/**/*.test.ts"], testTimeout: 60_000 },
      },
      {
        ...fromSources,
        extends: true,
        test: {
          name: "real",
          include: ["test/real/**/*.test.ts"],
          globalSetup: "test/real/servers/global-setup.ts",
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        ...fromSources,
        extends: true,
        test: { name: "deploy", include: ["test/deploy/**/*.test.ts"] },
      },
      {
        ...fromSources,
        extends: true,
        test: {
          name: "image",
          include: ["test/image/**/*.test.ts"],
          // What images have in common is built once.
          fileParallelism: false,
          globalSetup: ["test/real/servers/global-setup.ts", "test/image/global-setup.ts"],
          testTimeout: 300_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
