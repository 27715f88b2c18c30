import { defineConfig } from "vitest/config";
import { COMPILE_CACHE, FROM_SOURCES } from "./test/support/from-sources.ts";

// For the processes and threads that tests start, and those of the tests.
Object.assign(process.env, COMPILE_CACHE);

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
    // Many times what each needs where nothing else runs: a test that passes does not take longer for it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // For what no event tells of.
    expect: { poll: { timeout: 50_000 } },
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
            "test/workspace/**/*.test.ts",
          ],
        },
      },
      {
        ...fromSources,
        extends: true,
        test: { name: "program", include: ["test/program/**/*.test.ts"], testTimeout: 180_000 },
      },
      {
        ...fromSources,
        extends: true,
        test: {
          name: "real",
          include: ["test/real/**/*.test.ts"],
          globalSetup: "test/real/servers/global-setup.ts",
          testTimeout: 300_000,
          hookTimeout: 300_000,
          expect: { poll: { timeout: 120_000 } },
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
          expect: { poll: { timeout: 120_000 } },
        },
      },
    ],
  },
});
