/** What the site's bar and side have. A test compares it with the pages that there are. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { DefaultTheme } from "vitepress";
import { ROOT } from "../../../scripts/repository.ts";

export const NAVIGATION: DefaultTheme.NavItem[] = [
  { text: "Use cases", link: "/use-cases" },
  { text: "Sources", link: "/adapters/git", activeMatch: "^/adapters/" },
  { text: "Configuration", link: "/configuration-reference" },
  { text: "API", link: "/api/index.html", target: "_self" },
  { text: "Changelog", link: "/changelog" },
];

const group = (text: string, items: Readonly<Record<string, string>>) => ({
  text,
  items: Object.entries(items).map(([link, title]) => ({ text: title, link })),
});

const MANUAL: DefaultTheme.SidebarItem[] = [
  group("Start", {
    "/": "Pannier",
    "/install": "Install",
    "/concepts": "Concepts",
    "/use-cases": "Use cases",
    "/cookbook": "Cookbook",
  }),
  group("Use cases", {
    "/use-cases/airflow": "Airflow DAGs",
    "/use-cases/grafana": "Grafana dashboards",
    "/use-cases/model-servers": "Model servers",
    "/use-cases/opa": "OPA bundles",
    "/use-cases/prometheus": "Prometheus rules",
    "/use-cases/static-sites": "Static sites",
    "/use-cases/rclone": "Any remote of rclone",
    "/use-cases/gitrepo-volumes": "From gitRepo volumes",
  }),
  group("Sources", {
    "/adapters/file": "Local files",
    "/adapters/git": "git",
    "/adapters/http": "HTTP",
    "/adapters/s3": "S3",
    "/adapters/gcs": "Google Cloud Storage",
    "/adapters/azure": "Azure Blob Storage",
    "/adapters/oci": "OCI registries",
    "/adapters/hf": "Hugging Face",
    "/adapters/release": "Releases",
    "/adapters/k8s": "Kubernetes",
    "/adapters/sftp": "SFTP",
    "/adapters/ftp": "FTP",
    "/adapters/smb": "SMB",
    "/adapters/nfs": "NFS",
    "/adapters/webdav": "WebDAV",
  }),
  group("Sidecar", {
    "/configuration": "Configuration",
    "/configuration-reference": "Configuration reference",
    "/kubernetes": "Kubernetes",
    "/image": "Image",
    "/operations": "Operations",
    "/artifacts": "Push to a registry",
    "/node-sharing": "One follower per node",
  }),
  group("Trust", {
    "/security": "Security",
    "/signatures": "Signatures",
    "/tested-with": "Tested with",
    "/benchmarks": "Benchmarks",
    "/reporting-vulnerabilities": "Report a vulnerability",
  }),
  group("Move to Pannier", {
    "/moving-from-git-sync": "From git-sync",
    "/moving-from-rclone": "From rclone",
    "/moving-from-s3-sync": "From aws s3 sync",
    "/moving-from-k8s-sidecar": "From k8s-sidecar",
    "/upgrading": "Upgrading",
    "/changelog": "Changelog",
  }),
  group("Examples", { "/demo": "Demo", ...readmes("examples") }),
  group("Develop", {
    "/writing-an-adapter": "Writing an adapter",
    "/design": "Design",
    "/contributing": "Contributing",
    "/packages/core": "Packages",
  }),
];

/** By the beginning of a page's path. Packages have one of their own: each item costs a phone time, on every page. */
export const SIDEBAR: Readonly<Record<string, DefaultTheme.SidebarItem[]>> = {
  "/packages/": [
    group("Manual", { "/": "Pannier", "/writing-an-adapter": "Writing an adapter" }),
    group("Packages", readmes("packages")),
  ],
  "/": MANUAL,
};

/** Of each folder in it, by its name. */
function readmes(folder: string): Record<string, string> {
  const names = readdirSync(join(ROOT, folder));
  return Object.fromEntries(names.map((name) => [`/${folder}/${name}`, name]));
}
