/** What folders of all stores have in common. */
import { UsageError } from "@pannier/core/adapter";

/** @throws UsageError where there is a marker: it is for those who list */
export function refuseMarker(marker: string | undefined): void {
  if (marker === undefined) return;
  throw new UsageError(
    'option "marker" is for a prefix that is listed',
    "leave it out: the index of a layout is asked about by itself",
  );
}
