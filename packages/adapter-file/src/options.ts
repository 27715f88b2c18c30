import type { OptionSpecs } from "@pannier/core/adapter";

export const options = {
  mountpoint: {
    type: "boolean",
    default: false,
    description: "refuse to list while nothing is mounted at the path",
  },
  required: {
    type: "string",
    placeholder: "FILE",
    description: "refuse to list while this file, relative to the path, is not there",
  },
} as const satisfies OptionSpecs;
