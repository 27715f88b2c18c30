/** What folders of all stores have in common. */
import { quotePath, SourceError, UsageError } from "@pannier/core/adapter";

/** @throws UsageError where there is a marker: it is for those who list */
export function refuseMarker(marker: string | undefined): void {
  if (marker === undefined) return;
  throw new UsageError(
    'option "marker" is for a prefix that is listed',
    "leave it out: the index of a layout is asked about by itself",
  );
}

/** @throws SourceError `unsupported` where a file is larger than one upload may be */
export function refuseLarger(path: string, size: number, largest: number): void {
  if (size <= largest) return;
  throw new SourceError(
    "unsupported",
    `${quotePath(path)} has ${size} bytes, and the store takes ${largest} in one upload`,
    { hint: "push to a registry, to a directory, or to a store that takes more" },
  );
}
