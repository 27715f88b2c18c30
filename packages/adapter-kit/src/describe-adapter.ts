/** The conformance suite: what the engine relies on, as tests that any adapter can run. */
import type { Harness, SuiteOptions } from "./harness.ts";
import { changeChecks } from "./suite/change.ts";
import { contentChecks } from "./suite/content.ts";
import { faultChecks } from "./suite/faults.ts";
import { lanesAreForced } from "./suite/lane-first.ts";
import { laneChecks } from "./suite/lanes.ts";
import { lifecycleChecks } from "./suite/lifecycle.ts";
import { listingChecks } from "./suite/listing.ts";
import { nameChecks } from "./suite/names.ts";
import { scopeChecks } from "./suite/scope.ts";
import { allTraits, makeChecks, type Vitest } from "./suite/trial.ts";

/**
 * Defines the suite's tests in a test file. A test that does not apply is skipped with its reason.
 *
 * @example
 *   import * as vitest from "vitest";
 *   describeAdapter(vitest, { adapter, create: async (files) => makeStore(files) });
 *
 * @param vitest the caller's vitest
 * @param harness the adapter, and stores to try it on
 */
export function describeAdapter(
  vitest: Vitest,
  harness: Harness,
  options: SuiteOptions = {},
): void {
  const settings = {
    largeFile: options.largeFile ?? 64 << 20,
    manyFiles: options.manyFiles ?? 2500,
    idleTimeout: options.idleTimeout ?? 400,
    timeout: options.timeout ?? 60_000,
  };
  const traits = allTraits(harness.traits ?? {});
  const checkOf = makeChecks(vitest, harness, traits, settings);
  const parts = {
    // These read nothing: by lanes they would say the same.
    ...(lanesAreForced() ? {} : { listing: listingChecks, scope: scopeChecks }),
    names: nameChecks,
    content: contentChecks,
    lanes: laneChecks,
    changes: changeChecks,
    faults: faultChecks,
    lifecycle: lifecycleChecks,
  };
  vitest.describe(`${harness.adapter.name} as a source`, () => {
    for (const [name, define] of Object.entries(parts)) {
      vitest.describe(name, () => define(checkOf(name), traits));
    }
  });
}
