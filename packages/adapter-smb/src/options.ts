/** Options in the URL's query. */
import type { OptionSpecs } from "@pannier/core/adapter";

export const smbOptions = {
  domain: {
    type: "string",
    description: "domain or workgroup of the user; default: what the server takes for its own",
    placeholder: "NAME",
  },
  encrypt: {
    type: "enum",
    description: "required refuses a server that does not encrypt; auto leaves it to the server",
    values: ["auto", "required"],
    default: "auto",
  },
  sign: {
    type: "enum",
    description:
      "auto: all but what guests read must be signed; required: guests are refused; off: left to the server",
    values: ["auto", "required", "off"],
    default: "auto",
  },
} as const satisfies OptionSpecs;
