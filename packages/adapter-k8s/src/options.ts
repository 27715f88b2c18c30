import type { OptionSpecs } from "@pannier/core/adapter";

export const k8sOptions = {
  selector: {
    type: "string",
    description: "label selector, as for kubectl get -l; default: all objects",
    placeholder: "SELECTOR",
  },
  folderAnnotation: {
    type: "string",
    description:
      "annotation with an object's directory; default: pannier.dev/folder, else k8s-sidecar-target-directory",
    placeholder: "NAME",
  },
  folderRoot: {
    type: "string",
    description:
      "absolute directories in that annotation must be below this one, and become relative to it",
    placeholder: "DIR",
  },
  layout: {
    type: "enum",
    values: ["keys", "objects"],
    description: "keys: each key is a file in that directory; objects: NAMESPACE/NAME/KEY",
    default: "keys",
  },
  kubeconfig: {
    type: "string",
    description: "kubeconfig file; default: KUBECONFIG, the pod's own cluster, or ~/.kube/config",
    placeholder: "FILE",
  },
  context: {
    type: "string",
    description: "context in the kubeconfig; default: its current one",
    placeholder: "NAME",
  },
} as const satisfies OptionSpecs;
