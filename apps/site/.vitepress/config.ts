import { relative } from "node:path";
import { defineConfig } from "vitepress";
import { ROOT, repositoryPage } from "../../../scripts/repository.ts";
import { anchorOf, NO_PAGES, siteLink, sitePath } from "../src/pages.ts";
import { NAVIGATION, SIDEBAR } from "../src/navigation.ts";

/** Vite 5's own is older than what the checkout's esbuild can write for. */
const TARGET = "es2022";
const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath fill='none' stroke='%23b4632a' stroke-width='2' stroke-linejoin='round' d='M3 9h18l-1.5 11h-15zM8 9V6a4 4 0 0 1 8 0v3M3 13h18'/%3E%3C/svg%3E";

export default defineConfig({
  title: "Pannier",
  description:
    "Syncs git, object stores, registries and shares into a directory, and publishes each revision atomically.",
  lang: "en-US",
  srcDir: ROOT,
  srcExclude: NO_PAGES,
  rewrites: sitePath,
  outDir: "dist",
  cacheDir: "../../node_modules/.cache/vitepress",
  head: [["link", { rel: "icon", href: ICON }]],
  // TypeDoc's pages are copied in after the build, and checked then.
  ignoreDeadLinks: [/^\/api\//],
  markdown: {
    // The default ones are too faint on the ground of a block.
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: { slugify: anchorOf },
    config: (markdown) => {
      markdown.core.ruler.push("links-of-the-checkout", ({ tokens, env }) => {
        const from = relative(ROOT, env.realPath ?? env.path);
        for (const token of tokens.flatMap(({ children }) => children ?? [])) {
          const link = token.type === "link_open" ? token.attrGet("href") : null;
          if (link !== null && !token.attrGet("class")?.includes("header-anchor"))
            token.attrSet("href", siteLink(from, link));
        }
      });
    },
  },
  vite: {
    build: { target: TARGET },
    // The root is the checkout: what is in it besides pages is not for the browser.
    optimizeDeps: { entries: [], esbuildOptions: { target: TARGET } },
    server: { watch: { ignored: ["**/.tools/**", "**/dist/**", "**/.turbo/**"] } },
  },
  themeConfig: {
    logo: ICON,
    nav: NAVIGATION,
    sidebar: SIDEBAR,
    outline: [2, 3],
    search: { provider: "local" },
    socialLinks: [{ icon: "git", link: repositoryPage(), ariaLabel: "Repository" }],
    editLink: { pattern: `${repositoryPage()}/edit/main/:path`, text: "Edit this page" },
  },
});
