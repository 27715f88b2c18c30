import { parseLocation } from "@pannier/core";
import { describe, expect, it } from "vitest";
import type { Mount } from "../mount.ts";
import { type Forge, mountsMeant } from "./webhooks.ts";

/** Payloads as the makers document them, cut to what tells the repository. */
const bitbucketCloud = {
  repository: {
    full_name: "team/site",
    links: { html: { href: "https://bitbucket.org/team/site" } },
  },
};
const bitbucketServer = {
  eventKey: "repo:refs_changed",
  repository: {
    slug: "site",
    project: { key: "WEB" },
    links: { self: [{ href: "https://bitbucket.example.com/projects/WEB/repos/site/browse" }] },
  },
};
const bitbucketPersonal = {
  repository: {
    links: { self: [{ href: "https://bitbucket.example.com/users/ann/repos/site/browse" }] },
  },
};
const bitbucketClone = {
  repository: {
    links: { clone: [{ href: "ssh://git@bitbucket.example.com:7999/web/site.git", name: "ssh" }] },
  },
};
const gitea = {
  repository: {
    html_url: "https://gitea.example.com/web/site",
    ssh_url: "git@gitea.example.com:web/site.git",
  },
};
const azure = (remoteUrl: string) => ({
  eventType: "git.push",
  resource: { repository: { remoteUrl } },
});
const sameName = azure("https://dev.azure.com/org/DefaultCollection/_git/Site");
const project = azure("https://dev.azure.com/org/My%20Project/_git/Site");

describe("a call is about the mounts of its repository, however either names it", () => {
  it.each<[Forge, object, string, boolean]>([
    ["bitbucket", bitbucketCloud, "https://bitbucket.org/team/site.git", true],
    ["bitbucket", bitbucketCloud, "ssh://git@bitbucket.org/team/site.git", true],
    ["bitbucket", bitbucketCloud, "https://bitbucket.org/team/site-old.git", false],
    ["bitbucket", bitbucketServer, "https://bitbucket.example.com/scm/web/site.git", true],
    ["bitbucket", bitbucketServer, "ssh://git@bitbucket.example.com:7999/web/site.git", true],
    ["bitbucket", bitbucketServer, "https://bitbucket.example.com/scm/docs/site.git", false],
    ["bitbucket", bitbucketPersonal, "https://bitbucket.example.com/scm/~ann/site.git", true],
    ["bitbucket", bitbucketClone, "https://bitbucket.example.com/scm/web/site.git", true],
    ["gitea", gitea, "https://gitea.example.com/web/site.git", true],
    ["gitea", gitea, "https://gitea.example.com/web/docs.git", false],
    ["azure-devops", sameName, "https://dev.azure.com/org/Site/_git/Site", true],
    ["azure-devops", sameName, "ssh://git@ssh.dev.azure.com/v3/org/Site/Site", true],
    ["azure-devops", project, "https://dev.azure.com/org/My%20Project/_git/Site", true],
    ["azure-devops", project, "https://org.visualstudio.com/My%20Project/_git/Site", true],
    ["azure-devops", project, "ssh://git@vs-ssh.visualstudio.com/v3/org/My%20Project/Site", true],
    ["azure-devops", project, "https://dev.azure.com/other/My%20Project/_git/Site", false],
    ["azure-devops", project, "https://dev.azure.com/org/My%20Project/_git/Docs", false],
    [
      "azure-devops",
      azure("https://tfs.example.com/collection/web/_git/site"),
      "ssh://tfs.example.com:22/collection/web/_git/site",
      true,
    ],
    // One that does not tell: better asked in vain than overlooked.
    ["azure-devops", { eventType: "git.push" }, "https://dev.azure.com/org/Site/_git/Site", true],
  ])("%s: %j and %s: %s", (forge, payload, url, isMeant) => {
    const mount = { layers: [{ source: { location: parseLocation(`git+${url}`) } }] };
    const call = {
      headers: {},
      body: [Buffer.from(JSON.stringify(payload))],
      query: new URLSearchParams(),
    };
    const meant = mountsMeant(forge, call, [mount as unknown as Mount]);
    expect(meant).toHaveLength(isMeant ? 1 : 0);
  });
});
