import { type OptionSpecs, UsageError } from "@pannier/core/adapter";

export const hfOptions = {
  endpoint: {
    type: "string",
    description: "Base URL of another Hub or of a mirror; default: HF_ENDPOINT, or Hugging Face's",
    placeholder: "URL",
  },
} as const satisfies OptionSpecs;

const HUGGING_FACE = "https://huggingface.co";

/**
 * @param option as given in the URL
 * @param variable `HF_ENDPOINT`, as Hugging Face's own library has it
 * @returns without a slash at the end
 * @throws UsageError
 */
export function parseEndpoint(option: string | undefined, variable: string | undefined): URL {
  const url = URL.parse(option ?? (variable || HUGGING_FACE));
  const usable =
    url !== null &&
    (url.protocol === "http:" || url.protocol === "https:") &&
    url.username + url.password + url.search + url.hash === "";
  if (!usable) {
    const name = option === undefined ? "the variable HF_ENDPOINT" : 'option "endpoint"';
    throw new UsageError(
      `${name} must be a URL such as https://host`,
      "it has neither a user nor a query",
    );
  }
  url.pathname = url.pathname.replace(/\/+$/, "");
  return url;
}
