/** What an object holds, as entries. */
import { hash } from "node:crypto";
import { type FileEntry, quotePath, SourceError } from "@pannier/core/adapter";
import type { Resource } from "./address.ts";
import { notApi } from "./errors.ts";

/** A ConfigMap or a Secret, as far as it matters: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/. */
export interface KubeObject {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** By key. */
  readonly content: ReadonlyMap<string, Buffer>;
}

export interface Layout {
  readonly resource: Resource;
  readonly layout: "keys" | "objects";
  /** Annotations that may name a directory; the first that is there counts. */
  readonly annotations: readonly string[];
  /** Absolute directory that absolute ones are taken below; without a trailing `/`. */
  readonly root: string | undefined;
}

/** Of Secrets: for the owner, and for the group that a pod shares (`fsGroup`). */
const SECRET_MODE = 0o440;

/** @throws SourceError `invalid` where it is no such object */
export function objectOf(value: unknown, resource: Resource): KubeObject {
  const { metadata, data, binaryData } = (value ?? {}) as Readonly<Record<string, unknown>>;
  const { namespace, name, uid, resourceVersion, annotations } = fields(metadata);
  if (
    typeof namespace !== "string" ||
    typeof name !== "string" ||
    typeof uid !== "string" ||
    typeof resourceVersion !== "string"
  ) {
    throw notApi();
  }
  const content = new Map<string, Buffer>();
  const isText = resource === "configmaps";
  for (const [key, text] of Object.entries(fields(data))) {
    if (typeof text !== "string") throw notApi();
    content.set(key, Buffer.from(text, isText ? "utf8" : "base64"));
  }
  for (const [key, text] of Object.entries(fields(isText ? binaryData : undefined))) {
    if (typeof text !== "string") throw notApi();
    content.set(key, Buffer.from(text, "base64"));
  }
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    annotations: fields(annotations) as Readonly<Record<string, string>>,
    content,
  };
}

/** @throws SourceError where the object's annotation names a directory that cannot be meant */
export function entriesOf(object: KubeObject, layout: Layout): FileEntry[] {
  const folder = layout.layout === "objects" ? idOf(object) : folderOf(object, layout);
  const prefix = folder === "" ? "" : `${folder}/`;
  return Array.from(object.content, ([key, content]): FileEntry => {
    const file = {
      kind: "file",
      path: prefix + key,
      size: content.length,
      ref: idOf(object),
    } as const;
    const fingerprint = fingerprintOf(object, content, layout.resource);
    if (layout.resource === "secrets") return { ...file, mode: SECRET_MODE, fingerprint };
    return { ...file, fingerprint, digest: { algorithm: "sha256", value: fingerprint } };
  });
}

/**
 * A Secret's content must not show in its fingerprint, which is kept and printed: a password of ten letters is found by its digest.
 * So it is the object's version, which every change of the object changes.
 */
export function fingerprintOf(
  { uid, resourceVersion }: Pick<KubeObject, "uid" | "resourceVersion">,
  content: Buffer,
  resource: Resource,
): string {
  return resource === "secrets" ? `${uid}/${resourceVersion}` : hash("sha256", content);
}

export function idOf({ namespace, name }: Pick<KubeObject, "namespace" | "name">): string {
  return `${namespace}/${name}`;
}

function folderOf(object: KubeObject, { annotations, root, resource }: Layout): string {
  const annotation = annotations.find((name) => object.annotations[name]);
  if (annotation === undefined) return "";
  const value = object.annotations[annotation] as string;
  let folder = value.replace(/\/+$/, "");
  if (value.startsWith("/")) {
    if (root === undefined || !`${folder}/`.startsWith(`${root}/`)) {
      throw new SourceError(
        "invalid",
        `${resource} ${idOf(object)}: its annotation ${annotation} is the absolute path ${quotePath(value)}`,
        {
          hint:
            root === undefined
              ? "make it relative, or give the directory that it begins with as the option folderRoot"
              : `it has to lie below the option folderRoot, ${root}`,
        },
      );
    }
    folder = folder.slice(root.length + 1);
  }
  return folder.replace(/^(?:\.\/+)+/, "").replace(/^\.$/, "");
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}
