import type { OptionSpecs } from "@pannier/core/adapter";

export const options = {
  mountpoint: {
    type: "boolean",
    default: false,
    description: "fail while nothing is mounted at the path",
  },
  required: {
    type: "string",
    placeholder: "FILE",
    description: "fail while this file, relative to the path, does not exist",
  },
} as const satisfies OptionSpecs;
