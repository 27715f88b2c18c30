/** What pushes, loaded when something is pushed. */
import { UsageError } from "@pannier/core";
import { loadArtifact } from "./adapters.ts";

/** @throws UsageError in a program that was made without it */
export async function artifact(): ReturnType<NonNullable<typeof loadArtifact>> {
  if (loadArtifact !== undefined) return loadArtifact();
  throw new UsageError(
    "this program cannot push: it was made without the oci adapter",
    "make it with --adapters …,oci",
  );
}
