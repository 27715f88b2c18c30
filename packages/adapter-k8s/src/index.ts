import { sourceFactory } from "@pannier/core/adapter";
import { k8sAdapter } from "./adapter.ts";

export { k8sAdapter } from "./adapter.ts";

/**
 * ConfigMaps or Secrets of a Kubernetes cluster, for use as a library.
 *
 * @example k8s("k8s://monitoring/configmaps", { selector: "grafana_dashboard=1" })
 */
export const k8s = sourceFactory(k8sAdapter);
