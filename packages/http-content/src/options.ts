/** Options of sources that unpack an archive. */
import type { OptionSpecs } from "@pannier/core/adapter";

export const archiveOptions = {
  strip: {
    type: "integer",
    default: 0,
    max: 100,
    description: "leading directories to remove from names in an archive",
  },
} as const satisfies OptionSpecs;
