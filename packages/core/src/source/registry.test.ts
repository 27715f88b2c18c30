import { describe, expect, test } from "vitest";
import type { Adapter } from "./contract.ts";
import type { UsageError } from "./errors.ts";
import { describeSource, resolveSource, sourceFactory } from "./registry.ts";

function adapterOf(name: string, schemes: string[], more: Partial<Adapter> = {}): Adapter {
  return {
    name,
    package: `@pannier/adapter-${name}`,
    schemes,
    options: {},
    description: name,
    open: () => Promise.reject(new Error("not opened here")),
    ...more,
  };
}

const http = adapterOf("http", ["http", "https"], {
  ownQuery: true,
  options: {
    strip: { type: "integer", description: "directories to leave out" },
    checksum: { type: "string", description: "of the file" },
  },
});
const git = adapterOf("git", ["git+https"], {
  claims: (location) => location.scheme === "https" && location.pathname.endsWith(".git"),
  options: { ref: { type: "string", description: "what to take" } },
});
const ADAPTERS = [http, git];

function failureOf(call: () => unknown): UsageError {
  try {
    call();
  } catch (error) {
    return error as UsageError;
  }
  throw new Error("did not fail");
}

describe("resolveSource", () => {
  test.each([
    ["https://host/site.tar.gz", http],
    ["https://host/repo.git", git],
    ["git+https://host/repo", git],
  ])("%s", (text, adapter) => {
    expect(resolveSource(text, ADAPTERS).adapter).toBe(adapter);
  });

  test("takes the adapter that is named, whatever the scheme", () => {
    expect(resolveSource("https://host/repo", ADAPTERS, { adapter: "git" }).adapter).toBe(git);
  });

  test("a named adapter that is not there", () => {
    expect(failureOf(() => resolveSource("https://h/", ADAPTERS, { adapter: "s3" }))).toMatchObject(
      {
        name: "UsageError",
        message: 'there is no adapter "s3" in this build (present: http, git)',
        hint: "install @pannier/adapter-s3, or choose one that is present",
      },
    );
  });

  test.each([
    ["s3://bucket/", "add the package @pannier/adapter-s3"],
    ["/srv/site", "add the package @pannier/adapter-file"],
    ["htps://host/", 'did you mean "https://"?'],
    [
      "gopher://host/",
      "add the package of an adapter for this scheme, or name one with PANNIER_ADAPTER",
    ],
    [
      "constructor://host/",
      "add the package of an adapter for this scheme, or name one with PANNIER_ADAPTER",
    ],
  ])("a scheme without adapter: %s", (text, hint) => {
    const failure = failureOf(() => resolveSource(text, ADAPTERS));
    expect(failure).toMatchObject({ name: "UsageError", hint });
    expect(failure.message).toContain("(present: http, git)");
  });

  test("an option that is passed wins over the URL's, unless it is undefined", () => {
    const url = "git+https://host/repo?ref=main";
    const refOf = (options: Record<string, unknown>) =>
      resolveSource(url, ADAPTERS, { options }).options["ref"];
    expect(refOf({})).toBe("main");
    expect(refOf({ ref: "v1" })).toBe("v1");
    expect(refOf({ ref: undefined })).toBe("main");
  });

  test("an unknown option is refused", () => {
    expect(failureOf(() => resolveSource("git+https://host/repo?reff=x", ADAPTERS))).toMatchObject({
      message: 'unknown option "reff" of a git source',
      hint: 'did you mean "ref"?',
    });
  });
});

describe("an adapter whose query is the server's too", () => {
  test("leaves foreign parameters in the URL", () => {
    const spec = resolveSource("https://host/x?strip=1&X-Amz-Signature=s3cr3t", ADAPTERS);
    expect(spec.options).toEqual({ strip: 1, checksum: undefined });
    expect(spec.location.rawQuery).toBe("strip=1&X-Amz-Signature=s3cr3t");
  });

  test("but takes nearly an option for a mistake", () => {
    expect(failureOf(() => resolveSource("https://host/x?chksum=1", ADAPTERS)).hint).toBe(
      'did you mean "checksum"?',
    );
  });

  test("and refuses every unknown option that is passed beside the URL", () => {
    const options = { region: "x" };
    expect(failureOf(() => resolveSource("https://h/", ADAPTERS, { options })).message).toContain(
      'unknown option "region"',
    );
  });
});

test("sourceFactory makes the function that an adapter's package exports", () => {
  const spec = sourceFactory(git)("git+https://host/repo?ref=main", { ref: "v1" });
  expect(spec).toMatchObject({ adapter: git, options: { ref: "v1" } });
});

test("describeSource shows an adapter's options and no secrets", () => {
  const text = "https://ann:s3cr3t@host/x?strip=1&sig=s3cr3t";
  expect(describeSource(resolveSource(text, ADAPTERS))).toBe("https://host/x?strip=1&sig=***");
});
