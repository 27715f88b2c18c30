import { relative } from "node:path";
import { defineConfig } from "vitepress";
import { ROOT, repositoryPage } from "../../../scripts/repository.ts";
import { anchorOf, NO_PAGES, siteLink, sitePath } from "../src/pages.ts";
import { NAVIGATION, SIDEBAR } from "../src/navigation.ts";

/** Vite 5's own is older than what the checkout's esbuild can write for. */
const TARGET = "es2022";
const ICON =
  "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath fill='none' stroke='%23b4632a' stroke-width='2' stroke-linejoin='round' d='M3 9h18l-1.5 11h-15zM8 9V6a4 4 0 0 1 8 0v3M3 13h18'/%3E%3C/svg%3E";
/** A branch that leaves a line of commits. */
const REPOSITORY =
  "<svg viewBox='0 0 24 24' aria-hidden='true'><path fill='none' stroke='currentColor' stroke-width='2' d='M7 8v8M17 8c0 5-10 3-10 8M7 3a2.5 2.5 0 0 1 0 5 2.5 2.5 0 0 1 0-5zM17 3a2.5 2.5 0 0 1 0 5 2.5 2.5 0 0 1 0-5zM7 16a2.5 2.5 0 0 1 0 5 2.5 2.5 0 0 1 0-5z'/></svg>";
const ICONS = /\s*<link rel="preload stylesheet" href="[^"]*vp-icons\.css" as="style">/;

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
  // The default turns transitions off and on at the start, which makes the browser lay out the page once more.
  appearance: { disableTransition: false },
  // The file of icons is empty, since the only one is below, and text would wait for it.
  transformHtml: (html) => html.replace(ICONS, ""),
  // TypeDoc's pages are copied in after the build, and checked then.
  ignoreDeadLinks: [/^\/api\//],
  markdown: {
    // The default ones are too faint on the ground of a block.
    theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" },
    anchor: { slugify: anchorOf },
    config: (markdown) => {
      markdown.core.ruler.push("corners-of-tables", ({ tokens }) => {
        // Above the first column stands no heading, so that is no header cell.
        for (const [index, token] of tokens.entries())
          if (token.type === "th_open" && tokens[index + 1]?.content === "")
            for (const part of [token, tokens[index + 2]]) if (part !== undefined) part.tag = "td";
      });
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
    search: {
      provider: "local",
      // The name of the button is what is seen of it: the word and the key.
      options: {
        translations: { button: { buttonText: "Search ", buttonAriaLabel: "Search K" } },
      },
    },
    socialLinks: [{ icon: { svg: REPOSITORY }, link: repositoryPage(), ariaLabel: "Repository" }],
    editLink: { pattern: `${repositoryPage()}/edit/main/:path`, text: "Edit this page" },
  },
});
