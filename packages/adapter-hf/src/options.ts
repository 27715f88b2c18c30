import type { OptionSpecs } from "@pannier/core/adapter";
import { parseEndpoint } from "@pannier/object-store";

export const hfOptions = {
  endpoint: {
    type: "string",
    description: "base URL of another Hub or of a mirror; default: HF_ENDPOINT, or Hugging Face's",
    placeholder: "URL",
  },
} as const satisfies OptionSpecs;

const HUGGING_FACE = "https://huggingface.co";

/**
 * @param option as given in the URL
 * @param variable `HF_ENDPOINT`, as Hugging Face's own library has it
 * @throws UsageError
 */
export function hubOf(option: string | undefined, variable: string | undefined): URL {
  return option === undefined
    ? parseEndpoint(variable || HUGGING_FACE, "the variable HF_ENDPOINT")
    : parseEndpoint(option, 'option "endpoint"');
}
