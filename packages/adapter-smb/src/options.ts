/** Options in the URL's query. */
import type { OptionSpecs } from "@pannier/core/adapter";

export const smbOptions = {
  domain: {
    type: "string",
    description: "domain or workgroup of the user; default: the server's choice",
    placeholder: "NAME",
  },
  encrypt: {
    type: "enum",
    description: "required: refuse a server that does not encrypt; auto: as the server asks",
    values: ["auto", "required"],
    default: "auto",
  },
  sign: {
    type: "enum",
    description:
      "auto: sign everything, except for guests; required: refuse guests; off: sign only if the server insists",
    values: ["auto", "required", "off"],
    default: "auto",
  },
} as const satisfies OptionSpecs;
