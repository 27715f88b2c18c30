/** Options in the URL's query. */
import type { OptionSpecs } from "@pannier/core/adapter";

/** Ids are 32 bits; the largest stands for none. */
const LAST_ID = 2 ** 32 - 2;

export const nfsOptions = {
  version: {
    type: "enum",
    values: ["3", "4"],
    default: "4",
    description: "version of the protocol",
  },
  uid: {
    type: "integer",
    min: 0,
    max: LAST_ID,
    description: "user id sent to the server; default: this process's",
  },
  gid: {
    type: "integer",
    min: 0,
    max: LAST_ID,
    description: "group id sent to the server; default: this process's",
  },
  mountPort: {
    type: "integer",
    min: 1,
    max: 65_535,
    description: "port of the mount service of version 3; default: as the server's portmapper says",
  },
} as const satisfies OptionSpecs;
