import { describe, expect, test } from "vitest";
import type { Adapter, Source, SourceContext } from "./contract.ts";
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

const sourceOf = (text: string): Source => ({
  probe: () => Promise.resolve({ token: text }),
  list: () => Promise.reject(new Error("not listed here")),
  read: () => Promise.reject(new Error("not read here")),
  close: () => Promise.resolve(),
});

const opening = (adapter: Adapter, recognise?: () => Promise<boolean>): Adapter => ({
  ...adapter,
  ...(recognise === undefined ? {} : { recognise, suspects: () => true }),
  open: (_, options) => Promise.resolve(sourceOf(`${adapter.name} ${JSON.stringify(options)}`)),
});

function openEither(adapters: readonly Adapter[]): Promise<Source> {
  const { adapter, location, options } = resolveSource("https://host/org/repo", adapters);
  return adapter.open(location, options as never, {} as SourceContext);
}

describe("resolveSource", () => {
  test.each([
    ["https://host/site.tar.gz", http],
    ["https://host/repo.git", git],
    ["git+https://host/repo", git],
  ])("%s", (text, adapter) => {
    expect(resolveSource(text, ADAPTERS).adapter).toBe(adapter);
  });

  describe("a URL that only its server can tell whose it is", () => {
    const { signal } = new AbortController();
    const probe = async (text: string, recognise: () => Promise<boolean>) => {
      const { adapter, location, options } = resolveSource(text, [
        opening(http),
        opening(git, recognise),
      ]);
      const opened = await adapter.open(location, options as never, {} as SourceContext);
      return async () => (await opened.probe(signal))?.token;
    };

    test("asks the server once", async () => {
      let asked = 0;
      const isGit = await probe("https://host/org/repo?ref=main", async () => ++asked > 0);
      expect([await isGit(), await isGit()]).toEqual(Array(2).fill('git {"ref":"main"}'));
      expect(asked).toBe(1);
      const isHttp = await probe("https://host/org/repo?ref=main", async () => false);
      expect(await isHttp()).toBe("http {}");
    });

    test("asks again where that failed", async () => {
      let fails = true;
      const ask = await probe("https://host/org/repo", async () => {
        if (fails) throw new Error("no answer");
        return true;
      });
      await expect(ask()).rejects.toThrow("no answer");
      fails = false;
      expect(await ask()).toBe("git {}");
    });

    test("tells whether it is content-addressed, and closes what was still being opened", async () => {
      let closed = 0;
      const opened = Promise.withResolvers<Source>();
      const adapter: Adapter = {
        ...opening(git, () => Promise.resolve(true)),
        open: () => opened.promise,
      };
      const spec = resolveSource("https://host/org/repo", [opening(http), adapter]);
      const either = await spec.adapter.open(
        spec.location,
        spec.options as never,
        {} as SourceContext,
      );
      const probing = either.probe(signal);
      const closing = either.close();
      opened.resolve({
        ...sourceOf("git"),
        contentAddressed: true,
        close: () => Promise.resolve(void closed++),
      });
      await Promise.all([probing, closing]);
      expect(closed).toBe(1);
      expect(either.contentAddressed).toBe(true);
    });

    test("hints at changes, and tells what it signs in with, as the one that it is", async () => {
      const adapter: Adapter = {
        ...opening(git, () => Promise.resolve(true)),
        open: () =>
          Promise.resolve({
            ...sourceOf("git"),
            async *watch() {
              yield;
            },
            identity: () => Promise.resolve("the user of the URL"),
          }),
      };
      const either = await openEither([opening(http), adapter]);
      const hints = either.watch?.(signal)[Symbol.asyncIterator]();
      const hint = hints?.next();
      await either.probe(signal);
      expect(await hint).toEqual({ done: false, value: undefined });
      expect(await hints?.next()).toMatchObject({ done: true });
      expect(await either.identity?.(signal)).toBe("the user of the URL");
      // That the server does not answer is not what is asked here.
      const down = await openEither([
        opening(http),
        opening(git, () => Promise.reject(new Error("no answer"))),
      ]);
      expect(await down.identity?.(signal)).toBeUndefined();
      // One that has neither, and one that nobody asks for content.
      const other = await openEither([opening(http), opening(git, () => Promise.resolve(false))]);
      expect(await other.identity?.(signal)).toBeUndefined();
      expect(await other.watch?.(signal)[Symbol.asyncIterator]().next()).toMatchObject({
        done: true,
      });
      const unasked = await openEither([opening(http), adapter]);
      const stop = new AbortController();
      const waiting = unasked.watch?.(stop.signal)[Symbol.asyncIterator]().next();
      stop.abort();
      expect(await waiting).toMatchObject({ done: true });
    });

    test.each(["https://host/repo.git", "git+https://host/repo"])("%s is not asked", (text) => {
      const suspicious = { ...git, suspects: () => true };
      expect(resolveSource(text, [http, suspicious]).adapter).toBe(suspicious);
    });

    test("with options of one of them it is that one's", () => {
      const suspicious = { ...git, suspects: () => true };
      const options = { strip: 1 };
      expect(resolveSource("https://host/repo", [http, suspicious], { options }).adapter).toBe(
        http,
      );
    });

    test("where there is no other adapter it is not asked", () => {
      const suspicious = { ...git, suspects: () => true };
      expect(resolveSource("https://host/repo", [suspicious]).adapter).toBe(suspicious);
      expect(resolveSource("https://host/repo", [http]).adapter).toBe(http);
      const named = { adapter: "http" };
      expect(resolveSource("https://host/repo", [http, suspicious], named).adapter).toBe(http);
    });

    test("what is an option of either is printed", () => {
      const suspicious = { ...git, suspects: () => true };
      const spec = resolveSource("https://host/repo?ref=main", [http, suspicious]);
      expect(describeSource(spec)).toBe("https://host/repo?ref=main");
    });
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
    ["ssh://git@host/org/repo.git", 'did you mean "git+ssh://"?'],
    ["webdav://host/", 'did you mean "dav://"?'],
    ["azure://account/container", 'did you mean "az://"?'],
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

describe("a source in a folder of another adapter", () => {
  const path = { type: "string", description: "directory" } as const;
  const oci = adapterOf("oci", ["oci", "oci+https"], { inFolders: true, options: { path } });
  const region = { type: "string", description: "where it is" } as const;
  const s3 = adapterOf("s3", ["s3"], {
    options: { region },
    openFolder: (location, options) =>
      Promise.reject(new Error(JSON.stringify([location, options]))),
  });
  const ftp = adapterOf("ftp", ["ftp"]);

  test("is opened by the one, and the folder by the other, each with its own options", async () => {
    const opener: Adapter = {
      ...oci,
      async open(location, options, context) {
        const error: unknown = await context.folder?.("/below/").catch((reason: unknown) => reason);
        throw new Error(
          `${location.scheme} ${JSON.stringify(options)} ${(error as Error).message}`,
        );
      },
    };
    const spec = resolveSource("oci+s3://bucket/below:v1?region=here&path=a", [s3, opener]);
    expect(spec.adapter.name).toBe("oci");
    expect(describeSource(spec)).toBe("oci+s3://bucket/below:v1?region=here&path=a");
    const opened = spec.adapter.open(spec.location, spec.options as never, {} as SourceContext);
    const folder = { scheme: "s3", host: "bucket", pathname: "/below/" };
    const error = (await opened.catch((reason: unknown) => reason)) as Error;
    expect(error.message).toContain('oci+s3 {"region":"here","path":"a"}');
    const [location, options] = JSON.parse(/\[.*\]$/.exec(error.message)?.[0] ?? "") as object[];
    expect(location).toMatchObject(folder);
    expect(options).toEqual({ region: "here" });
  });

  test.each([
    ["oci+s3://bucket/a", [oci], '"oci+s3://" needs an adapter for "s3://" as well', "-s3"],
    [
      "oci+s3://bucket/a",
      [s3],
      'no adapter for "oci+s3://"',
      "add the package @pannier/adapter-oci",
    ],
    [
      "oci+ftp://host/a",
      [oci, s3, ftp],
      "the adapter ftp opens no folders",
      "schemes that are: oci+http, oci+https, oci+file, oci+s3",
    ],
    ["oci+webdav://host/a", [oci, s3], 'no adapter for "oci+webdav://"', 'mean "oci+dav://"'],
    ["oci+nothing://host/a", [oci, s3], "needs an adapter", "check the scheme"],
    ["oci+s3://bucket/a?regoin=b", [oci, s3], "regoin", '"region"'],
  ])("%s with %j is an error that says what is missing", (url, adapters, message, hint) => {
    const error = failureOf(() => resolveSource(url, adapters));
    expect(error.message).toContain(message);
    expect(error.hint).toContain(hint);
  });
});
