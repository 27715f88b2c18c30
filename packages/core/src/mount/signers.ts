/** Who has to have signed each source of a mount. */
import { UsageError } from "../source/errors.ts";
import { parseSigner, refuseOtherKinds, type Signer } from "../source/signers.ts";
import type { LayerSpec, SyncOptions } from "./sync-options.ts";

/**
 * By position. One of them is enough, of a kind that the source can bear.
 *
 * @throws UsageError where a source can bear none of them, or one of them can be of no source: neither is passed over
 */
export function signersOf(
  specs: readonly LayerSpec[],
  { signedBy = [] }: Pick<SyncOptions, "signedBy">,
): readonly (readonly Signer[])[] {
  const common = signedBy.map(parseSigner);
  const all = specs.map((spec) => spec.signedBy?.map(parseSigner) ?? common);
  for (const [position, { source }] of specs.entries())
    refuseOtherKinds(source.adapter, all[position] ?? []);
  for (const signer of common) {
    const isOfUse = specs.some(
      ({ source }, position) =>
        all[position]?.includes(signer) === true &&
        source.adapter.signatures?.includes(signer.kind) === true,
    );
    if (!isOfUse)
      throw new UsageError(
        `no source can be checked for a signature by ${signer.text}`,
        "leave it out, or give it to the source that it is meant for",
      );
  }
  return all;
}
