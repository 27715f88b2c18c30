/** The adapter: an image or artifact of a registry, or of an image layout, as a source. */
import { type Adapter, UsageError } from "@pannier/core/adapter";
import { openStore, referenceOf, SCHEMES } from "@pannier/oci";
import { checkOptions, ociOptions } from "./options.ts";
import { imageSource } from "./source.ts";
import { makeTagChoice } from "./tags.ts";

export const ociAdapter: Adapter<typeof ociOptions> = {
  name: "oci",
  package: "@pannier/adapter-oci",
  schemes: SCHEMES,
  // A layout may be in any folder.
  inFolders: true,
  options: ociOptions,
  signatures: ["cosign-key", "sigstore"],
  description: "an image or artifact in a registry, or an image layout",

  async open(location, options, context) {
    const settings = checkOptions(options);
    const reference = referenceOf(location);
    if (settings.semver !== undefined && (reference.tagged || reference.digest !== undefined)) {
      throw new UsageError(
        'option "semver" chooses the tag',
        "leave the tag or the digest out of the URL, or semver",
      );
    }
    const choose = settings.semver === undefined ? undefined : await makeTagChoice(settings.semver);
    const store = await openStore({
      location,
      reference,
      actions: "pull",
      credentials: context.credentials,
      env: process.env,
      idleTimeout: context.idleTimeout,
      onRequest: (operation) => context.request(operation),
      folder: context.folder,
    });
    return imageSource({ store, reference, settings, choose, context });
  },
};
