/**
 * The adapters that come with the program, each loaded only when a URL may be meant for it.
 *
 * `pannier bundle` puts a list of the chosen ones in the place of this module: nothing else may import an adapter.
 */
import type { Adapter, OptionSpecs } from "@pannier/core";

export interface Registered {
  readonly name: string;
  readonly package: string;
  /** Schemes of URLs that may be meant for it, those that it only claims some of included (`https://host/x.git`). */
  readonly schemes: readonly string[];
  readonly load: () => Promise<Adapter>;
}

export const BUILT_IN: readonly Registered[] = [
  {
    name: "file",
    package: "@pannier/adapter-file",
    schemes: ["file"],
    load: async () => asAdapter((await import("@pannier/adapter-file")).fileAdapter),
  },
  {
    name: "azure",
    package: "@pannier/adapter-azure",
    schemes: ["az"],
    load: async () => asAdapter((await import("@pannier/adapter-azure")).azureAdapter),
  },
  {
    name: "ftp",
    package: "@pannier/adapter-ftp",
    schemes: ["ftp", "ftps"],
    load: async () => asAdapter((await import("@pannier/adapter-ftp")).ftpAdapter),
  },
  {
    name: "gcs",
    package: "@pannier/adapter-gcs",
    schemes: ["gs"],
    load: async () => asAdapter((await import("@pannier/adapter-gcs")).gcsAdapter),
  },
  {
    name: "git",
    package: "@pannier/adapter-git",
    schemes: ["git+https", "git+http", "git+ssh", "git+file", "https", "http"],
    load: async () => asAdapter((await import("@pannier/adapter-git")).gitAdapter),
  },
  {
    name: "hf",
    package: "@pannier/adapter-hf",
    schemes: ["hf"],
    load: async () => asAdapter((await import("@pannier/adapter-hf")).hfAdapter),
  },
  {
    name: "http",
    package: "@pannier/adapter-http",
    schemes: ["https", "http"],
    load: async () => asAdapter((await import("@pannier/adapter-http")).httpAdapter),
  },
  {
    name: "k8s",
    package: "@pannier/adapter-k8s",
    schemes: ["k8s"],
    load: async () => asAdapter((await import("@pannier/adapter-k8s")).k8sAdapter),
  },
  {
    name: "nfs",
    package: "@pannier/adapter-nfs",
    schemes: ["nfs"],
    load: async () => asAdapter((await import("@pannier/adapter-nfs")).nfsAdapter),
  },
  {
    name: "oci",
    package: "@pannier/adapter-oci",
    schemes: ["oci", "oci+http", "oci+https", "oci+file"],
    load: async () => asAdapter((await import("@pannier/adapter-oci")).ociAdapter),
  },
  {
    name: "release",
    package: "@pannier/adapter-release",
    schemes: ["release+https", "release+http"],
    load: async () => asAdapter((await import("@pannier/adapter-release")).releaseAdapter),
  },
  {
    name: "s3",
    package: "@pannier/adapter-s3",
    schemes: ["s3"],
    load: async () => asAdapter((await import("@pannier/adapter-s3")).s3Adapter),
  },
  {
    name: "sftp",
    package: "@pannier/adapter-sftp",
    schemes: ["sftp"],
    load: async () => asAdapter((await import("@pannier/adapter-sftp")).sftpAdapter),
  },
  {
    name: "smb",
    package: "@pannier/adapter-smb",
    schemes: ["smb"],
    load: async () => asAdapter((await import("@pannier/adapter-smb")).smbAdapter),
  },
  {
    name: "webdav",
    package: "@pannier/adapter-webdav",
    schemes: ["dav", "davs"],
    load: async () => asAdapter((await import("@pannier/adapter-webdav")).webdavAdapter),
  },
];

/** What `push` needs; `undefined` in a program without the oci adapter. */
export const loadArtifact: (() => Promise<typeof import("@pannier/artifact")>) | undefined = () =>
  import("@pannier/artifact");

/** One whose own types of options are known, as one of whatever options. */
function asAdapter<Specs extends OptionSpecs>(adapter: Adapter<Specs>): Adapter {
  return adapter as unknown as Adapter;
}
