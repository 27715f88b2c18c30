/** A `k8s://` URL taken apart. */
import { decodedPath, type Location, UsageError } from "@pannier/core/adapter";

export interface Address {
  /** As in the URL, each once; `undefined`: of all namespaces. Empty: that of the pod, or of the kubeconfig's context. */
  readonly namespaces: readonly string[] | undefined;
  readonly resource: Resource;
  /** Of one object. */
  readonly name: string | undefined;
}

export type Resource = "configmaps" | "secrets";

const FORM =
  "write k8s://NAMESPACE/configmaps?selector=LABEL%3DVALUE or k8s://NAMESPACE/secrets/NAME; * stands for all namespaces";

/** RFC 1123, as Kubernetes has it for namespaces: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/. */
const NAMESPACE = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** A DNS subdomain. */
const NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/** @throws UsageError */
export function parseAddress(location: Location): Address {
  if (
    location.username !== undefined ||
    location.password !== undefined ||
    location.port !== undefined
  ) {
    throw new UsageError(
      "a k8s:// URL names neither a server nor a user",
      "the kubeconfig says where the cluster is, and who asks",
    );
  }
  const [resource = "", name, ...rest] = decodedPath(location).replace(/^\//, "").split("/");
  if (!isResource(resource)) {
    throw new UsageError(`"${resource}" is neither configmaps nor secrets`, FORM);
  }
  if (rest.length > 0 || (name !== undefined && !NAME.test(name))) {
    throw new UsageError(`"${[name, ...rest].join("/")}" is not the name of an object`, FORM);
  }
  const all = location.host === "*";
  const names = location.host === "" || all ? [] : location.host.split(",");
  const wrong = names.find((one) => !NAMESPACE.test(one));
  if (wrong !== undefined) throw new UsageError(`"${wrong}" is not a valid namespace`, FORM);
  if (all && name !== undefined) {
    throw new UsageError("one object by name is in one namespace", FORM);
  }
  return { namespaces: all ? undefined : [...new Set(names)], resource, name };
}

function isResource(text: string): text is Resource {
  return text === "configmaps" || text === "secrets";
}
