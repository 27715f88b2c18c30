/** Options in the URL's query. */
import type { OptionSpecs } from "@pannier/core/adapter";

/** Ids are 32 bits; the largest stands for none. */
const LAST_ID = 2 ** 32 - 2;

export const nfsOptions = {
  version: {
    type: "enum",
    values: ["3", "4"],
    default: "4",
    description: "version of the NFS protocol",
  },
  uid: {
    type: "integer",
    min: 0,
    max: LAST_ID,
    description: "user ID to send to the server; default: this process's",
  },
  gid: {
    type: "integer",
    min: 0,
    max: LAST_ID,
    description: "group ID to send to the server; default: this process's",
  },
  mountPort: {
    type: "integer",
    min: 1,
    max: 65_535,
    description:
      "port of the mount service, for version 3; default: what the server's portmapper says",
  },
} as const satisfies OptionSpecs;
