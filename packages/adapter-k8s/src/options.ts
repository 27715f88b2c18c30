import type { OptionSpecs } from "@pannier/core/adapter";

export const k8sOptions = {
  selector: {
    type: "string",
    description: "Label selector, as for kubectl get -l; default: all objects",
    placeholder: "SELECTOR",
  },
  folderAnnotation: {
    type: "string",
    description:
      "Annotation with an object's directory; default: pannier.dev/folder, else k8s-sidecar-target-directory",
    placeholder: "NAME",
  },
  folderRoot: {
    type: "string",
    description:
      "Absolute directories in that annotation have to lie below this one, and become relative to it",
    placeholder: "DIR",
  },
  layout: {
    type: "enum",
    values: ["keys", "objects"],
    description: "keys: each key is a file of that directory. objects: NAMESPACE/NAME/KEY",
    default: "keys",
  },
  kubeconfig: {
    type: "string",
    description:
      "File that says where the cluster is; default: KUBECONFIG, the pod's own cluster, ~/.kube/config",
    placeholder: "FILE",
  },
  context: {
    type: "string",
    description: "Context of that file; default: its current one",
    placeholder: "NAME",
  },
} as const satisfies OptionSpecs;
