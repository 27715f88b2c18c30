/** The dashboard: draws what /events tells, keeps what is drawn where it is, and asks for syncs. */

const byId = (id) => document.getElementById(id);

/** An element with attributes (or properties) and children; text is always text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** Changes a text only where it differs: a screen reader need not hear it again, and a selection stays. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const NUMBER = new Intl.NumberFormat("en");
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

function formatBytes(bytes) {
  const power = bytes < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[power]}`;
}

function count(number, noun) {
  return `${NUMBER.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function formatSpan(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** The server's clock may not be ours: what counts is how long ago something was by its own. */
let skew = 0;
const now = () => Date.now() + skew;

/** Times whose distance from now is brought up to date every second. */
function showTime(element, iso, form) {
  if (iso === null || iso === undefined) {
    element.removeAttribute("datetime");
    say(element, "–");
    return;
  }
  element.dateTime = iso;
  element.dataset.form = form;
  element.title = WHEN.format(new Date(iso));
  tick(element);
}

function tick(element) {
  const distance = Date.parse(element.dateTime) - now();
  if (element.dataset.form === "in")
    say(element, distance < 1000 ? "now" : `in ${formatSpan(distance)}`);
  else say(element, distance > -1500 ? "just now" : `${formatSpan(-distance)} ago`);
}

setInterval(() => {
  for (const element of document.querySelectorAll("time[datetime]")) tick(element);
}, 1000);

const STEPS = {
  probe: "Asking the source",
  list: "Listing",
  plan: "Comparing",
  fetch: "Fetching",
  stage: "Staging",
  hook: "Asking the hook",
  publish: "Publishing",
  collect: "Cleaning up",
};

/** How a mount does, in a word for people and one for the style sheet. */
function moodOf(mount) {
  if (mount.state === "syncing") return ["busy", STEPS[mount.step] ?? "Syncing"];
  if (mount.error !== null)
    return ["bad", mount.revision === null ? "Failing" : "Failing; the last revision stays live"];
  if (mount.revision === null) return ["idle", "Nothing published yet"];
  if (mount.state === "queued") return ["idle", "Waiting for its turn"];
  if (mount.held) return ["idle", "Rolled back until the source changes"];
  if (mount.failedHooks.length > 0) return ["bad", "Published, but a hook failed"];
  return ["good", "Up to date"];
}

function capitalise(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function shorten(revision) {
  return revision.length > 16 ? revision.slice(0, 12) : revision;
}

/** What is on the page, by the name of the mount. */
const cards = new Map();
let status;

function makeCard(name) {
  const id = `mount-${name}`;
  const parts = {
    badge: make("span", { className: "badge" }),
    button: make("button", { type: "button", className: "quiet" }, "Sync now"),
    sources: make("ul", { className: "sources", "aria-label": "Sources" }),
    revision: make("code"),
    published: make("time"),
    checked: make("time"),
    next: make("time"),
    content: make("dd"),
    error: make("div", { className: "alert", hidden: true }),
    hooks: make("div", { className: "alert", hidden: true }),
    progress: make("div", { className: "progress", hidden: true }),
    bar: make("progress", { max: 1 }),
    told: make("span"),
    history: make("ol", { className: "history" }),
    details: make("details"),
  };
  parts.bar.setAttribute("aria-label", `Progress of ${name}`);
  parts.button.setAttribute("aria-label", `Sync now: ${name}`);
  parts.button.addEventListener("click", () => askToSync(name));
  parts.progress.append(parts.bar, parts.told);
  parts.details.append(
    make("summary", { "aria-label": `History of ${name}` }, "History"),
    parts.history,
  );
  parts.details.addEventListener("toggle", () => showHistory(name));
  const fact = (term, ...value) => make("div", {}, make("dt", {}, term), ...value);
  const article = make(
    "article",
    { className: "mount", id, "aria-labelledby": `${id}-name` },
    make("header", {}, make("h2", { id: `${id}-name` }, name), parts.badge, parts.button),
    parts.sources,
    parts.error,
    parts.hooks,
    parts.progress,
    make(
      "dl",
      { className: "facts" },
      fact("Revision", make("dd", {}, parts.revision)),
      fact("Published", make("dd", {}, parts.published)),
      fact("Last good sync", make("dd", {}, parts.checked)),
      fact("Next check", make("dd", {}, parts.next)),
      fact("Content", parts.content),
    ),
    parts.details,
  );
  return { article, parts, shown: undefined, mood: undefined };
}

function drawCard(card, mount) {
  const { article, parts } = card;
  const [mood, words] = moodOf(mount);
  article.dataset.mood = mood;
  say(parts.badge, words);
  parts.button.hidden = !status.triggers;
  const sources = mount.sources.map(
    ({ url, into, revision }) =>
      `${url}${into === undefined ? "" : ` → ${into}`}${revision ? ` at ${shorten(revision)}` : ""}`,
  );
  if (parts.sources.dataset.text !== sources.join("\n")) {
    parts.sources.dataset.text = sources.join("\n");
    parts.sources.replaceChildren(...sources.map((text) => make("li", {}, text)));
  }
  say(parts.revision, mount.revision === null ? "–" : shorten(mount.revision));
  parts.revision.title = mount.revision ?? "";
  showTime(parts.published, mount.publishedAt, "ago");
  showTime(parts.checked, mount.lastSuccess, "ago");
  if (mount.state === "waiting") showTime(parts.next, mount.nextAttempt, "in");
  else {
    showTime(parts.next, null);
    say(parts.next, mount.state === "queued" ? "waiting for its turn" : "under way");
  }
  say(
    parts.content,
    mount.revision === null ? "–" : `${count(mount.files, "file")}, ${formatBytes(mount.bytes)}`,
  );
  drawError(parts.error, mount);
  drawHooks(parts.hooks, mount);
  drawProgress(parts, mount);
  announce(card, mount, words);
  if (parts.details.open && card.shown !== historyKey(mount)) showHistory(mount.name);
}

function drawError(box, { error, failures, failingSince }) {
  box.hidden = error === null;
  if (error === null) return;
  const where = error.source === undefined ? "" : `${error.source}: `;
  const text = `${where}${error.message}`;
  const key = `${text}|${failures}`;
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  const title = make("strong", {}, "The last sync failed");
  if (failures > 1) {
    const since = make("time");
    showTime(since, failingSince, "ago");
    title.replaceChildren(`Failed ${failures} times in a row, first `, since);
  }
  const hint =
    error.hint === undefined ? [] : [make("div", { className: "hint" }, capitalise(error.hint))];
  box.replaceChildren(title, longText(box, text), ...hint);
}

/** Characters of a message that are shown at once. */
const SHORT = 300;

/** The beginning of a long text, and a button for the rest. What was opened stays so when the box is drawn again. */
function longText(box, text) {
  const element = make("span", { className: "long" });
  if (text.length <= SHORT * 1.5) {
    element.append(text);
    return element;
  }
  const words = make("span");
  const button = make("button", { type: "button", className: "more" });
  const redraw = () => {
    const open = box.dataset.open === "true";
    say(words, open ? text : `${text.slice(0, SHORT)}…`);
    say(button, open ? "Show less" : `Show all ${NUMBER.format(text.length)} characters`);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => {
    box.dataset.open = String(box.dataset.open !== "true");
    redraw();
  });
  redraw();
  element.append(words, " ", button);
  return element;
}

/** Those that are not tried again before the next revision. */
function drawHooks(box, { failedHooks }) {
  box.hidden = failedHooks.length === 0;
  const key = JSON.stringify(failedHooks);
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(
    make("strong", {}, `${count(failedHooks.length, "hook")} after publishing failed`),
    ...failedHooks.map(({ hook, message }) => longText(box, `${hook}: ${message}`)),
  );
}

function drawProgress({ progress: box, bar, told }, { state, step, progress }) {
  box.hidden = state !== "syncing";
  if (box.hidden) return;
  if (progress === undefined) {
    bar.removeAttribute("value");
    say(told, `${STEPS[step] ?? "Starting"}…`);
    return;
  }
  const { files, totalFiles, bytes, totalBytes } = progress;
  const share = totalBytes > 0 ? bytes / totalBytes : files / Math.max(1, totalFiles);
  bar.value = Math.min(1, share);
  say(
    told,
    `${NUMBER.format(files)} of ${count(totalFiles, "file")}, ${formatBytes(bytes)} of ${formatBytes(totalBytes)}`,
  );
}

/** What a screen reader is told of: ends, not each step. */
function announce(card, mount, words) {
  const [mood] = moodOf(mount);
  const told = `${mood} ${mount.revision} ${mount.error?.message ?? ""}`;
  const before = card.mood;
  if (mood === "busy" || mount.state === "queued" || before === told) return;
  card.mood = told;
  if (before !== undefined) say(byId("announcer"), `${mount.name}: ${words}`);
}

const MARKS = { added: "+", changed: "~", deleted: "−" };

/** Changes when the history does. */
function historyKey({ revision, held, error, lastAttempt }) {
  return `${revision} ${held} ${held || error !== null ? lastAttempt?.endedAt : ""}`;
}

async function showHistory(name) {
  const card = cards.get(name);
  if (card === undefined || !card.parts.details.open) return;
  const { history } = card.parts;
  const mount = status.mounts.find((one) => one.name === name);
  if (mount !== undefined) card.shown = historyKey(mount);
  try {
    const response = await fetch(`/history/${name}`);
    const told = await response.json();
    const rows = [
      ...told.history.map((entry) => [entry.publishedAt, () => drawRevision(name, entry)]),
      ...told.attempts.map((attempt) => [attempt.lastAt, () => drawAttempt(attempt)]),
    ].toSorted(([a], [b]) => b.localeCompare(a));
    history.replaceChildren(
      ...(rows.length === 0
        ? [make("li", { className: "none" }, "Nothing was published yet.")]
        : rows.map(([, drawRow]) => drawRow())),
    );
  } catch {
    history.replaceChildren(
      make("li", { className: "none" }, "The history cannot be read just now."),
    );
  }
}

const ENDS = { failed: "Failed", refused: "Refused", held: "Held back" };

/** One that published nothing although the sources had something, or could not be asked. */
function drawAttempt({ kind, firstAt, lastAt, count: times, message, source }) {
  const row = make("li", { className: `attempt ${kind}` });
  const last = make("time");
  showTime(last, lastAt, "ago");
  const first = make("time");
  showTime(first, firstAt, "ago");
  const often = make("span", {}, `${NUMBER.format(times)} times, first `, first);
  const text =
    kind === "held"
      ? "The sources still have what was rolled back from."
      : `${source === undefined ? "" : `${source}: `}${message}`;
  row.append(
    make(
      "div",
      { className: "revision" },
      make("span", { className: "tag" }, ENDS[kind]),
      last,
      times > 1 ? often : undefined,
    ),
    longText(row, text),
  );
  return row;
}

function drawRevision(
  name,
  { revision, publishedAt, published, kept, added, changed, deleted, changes },
) {
  const time = make("time");
  showTime(time, publishedAt, "ago");
  const state = published ? "Published" : kept ? "Kept" : "";
  const numbers = [
    added > 0 ? `${NUMBER.format(added)} added` : "",
    changed > 0 ? `${NUMBER.format(changed)} changed` : "",
    deleted > 0 ? `${NUMBER.format(deleted)} deleted` : "",
  ].filter((text) => text !== "");
  const more = added + changed + deleted - changes.length;
  return make(
    "li",
    { className: published ? "published" : "" },
    make(
      "div",
      { className: "revision" },
      make("code", { title: revision }, shorten(revision)),
      time,
      make("span", {}, numbers.join(", ") || "nothing visible"),
      state === "" ? undefined : make("span", { className: "tag" }, state),
      kept && !published && status.triggers ? rollbackButton(name, revision) : undefined,
    ),
    make(
      "ul",
      { className: "changes" },
      ...changes.map(({ change, path }) =>
        make(
          "li",
          {},
          make("span", { className: `mark ${change}`, "aria-hidden": "true" }, MARKS[change]),
          make("span", { className: "unseen" }, `${change}: `),
          make("code", {}, path),
        ),
      ),
      changes.length > 0 && more > 0
        ? make("li", { className: "none" }, `and ${NUMBER.format(more)} more`)
        : undefined,
    ),
  );
}

function rollbackButton(name, revision) {
  const button = make("button", { type: "button", className: "quiet" }, "Roll back");
  button.setAttribute("aria-label", `Roll back ${name} to ${shorten(revision)}`);
  button.addEventListener("click", () =>
    ask({
      title: "Roll back",
      text: `“${name}” goes back to ${shorten(revision)}, and stays there until its sources change.`,
      path: `/rollback/${name}?revision=${encodeURIComponent(revision)}`,
      done: `Rolled ${name} back to ${shorten(revision)}`,
      confirm: true,
    }),
  );
  return button;
}

/** Failing mounts first. Not while the keyboard is among them: what moves loses it. */
function inOrder(mounts) {
  if (byId("mounts").contains(document.activeElement)) {
    const places = new Map([...cards.keys()].map((name, index) => [name, index]));
    return mounts.toSorted(
      (a, b) => (places.get(a.name) ?? Infinity) - (places.get(b.name) ?? Infinity),
    );
  }
  return mounts.toSorted((a, b) => Number(b.error !== null) - Number(a.error !== null));
}

function draw(next) {
  status = next;
  skew = Date.parse(status.time) - Date.now();
  const root = byId("mounts");
  for (const [name, { article }] of cards)
    if (!status.mounts.some((mount) => mount.name === name)) {
      article.remove();
      cards.delete(name);
    }
  for (const [index, mount] of inOrder(status.mounts).entries()) {
    const card = cards.get(mount.name) ?? makeCard(mount.name);
    // Its place among the others is that on the page.
    cards.delete(mount.name);
    cards.set(mount.name, card);
    if (root.children[index] !== card.article)
      root.insertBefore(card.article, root.children[index]);
    drawCard(card, mount);
  }
  drawOverview();
}

function drawOverview() {
  const { mounts, config, version, triggers } = status;
  const failing = mounts.filter(({ error }) => error !== null).length;
  const busy = mounts.filter(({ state }) => state === "syncing").length;
  const empty = mounts.filter(({ revision, error }) => revision === null && error === null).length;
  const queued = mounts.filter(({ state }) => state === "queued").length;
  const parts = [
    failing > 0 ? `${failing} of ${count(mounts.length, "mount")} failing` : "",
    empty > 0 ? `${empty} not published yet` : "",
    busy > 0 ? `${busy} syncing` : "",
    queued > 0 ? `${queued} waiting` : "",
  ].filter((part) => part !== "");
  const good =
    mounts.length === 1 ? "The mount is up to date" : `All ${mounts.length} mounts are up to date`;
  say(byId("summary"), parts.length === 0 ? good : parts.join(" · "));
  say(byId("version"), `Pannier ${version}`);
  document.title = failing > 0 ? `(${failing}) Pannier` : "Pannier";
  byId("sync-all").hidden = !triggers || mounts.length < 2;
  byId("filter-label").hidden = mounts.length < 7;
  const notice = byId("notice");
  notice.hidden = config.error === null;
  say(
    notice,
    config.error === null
      ? ""
      : `The configuration file was refused; the one before goes on. ${config.error}`,
  );
  filter();
}

function filter() {
  const wanted = byId("filter").value.trim().toLowerCase();
  for (const { article } of cards.values())
    article.hidden = wanted !== "" && !article.textContent.toLowerCase().includes(wanted);
}

byId("filter").addEventListener("input", filter);

/** Kept in memory, for as long as the page is open. */
let token = "";
let asked;

/** Sends a request that needs the token, and asks for what is missing first: the token, or a yes. */
function ask(request) {
  asked = request;
  if (token !== "" && request.confirm !== true) void send();
  else openDialog();
}

function askToSync(name) {
  ask({
    title: "Sync now",
    text: name === undefined ? "All mounts sync now." : `“${name}” syncs now.`,
    path: name === undefined ? "/sync" : `/sync/${name}`,
    done: name === undefined ? "Syncing all mounts" : `Syncing ${name}`,
  });
}

function openDialog(error) {
  say(byId("ask-title"), asked.title);
  say(byId("ask-send"), asked.title);
  say(byId("ask-text"), asked.text);
  byId("ask-error").hidden = error === undefined;
  say(byId("ask-error"), error ?? "");
  byId("token").value = token;
  if (!byId("ask").open) byId("ask").showModal();
  byId("token").focus();
}

byId("sync-all").addEventListener("click", () => askToSync(undefined));
byId("ask-cancel").addEventListener("click", () => byId("ask").close());
byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  void send();
});

async function send() {
  const { path, done } = asked;
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
    if (response.ok) {
      byId("ask").close();
      confirmDone(done);
      return;
    }
    if (response.status === 401) {
      token = "";
      openDialog("This token is not accepted.");
      return;
    }
    const { error } = await response.json().catch(() => ({}));
    openDialog(error?.message ?? `The answer was ${response.status}.`);
  } catch {
    // A header cannot hold every character, and the daemon may be gone.
    token = "";
    openDialog("The request could not be sent.");
  }
}

const CONFIRMED = 4000;
let confirming;

/** For those who see and those who hear. */
function confirmDone(text) {
  say(byId("announcer"), text);
  say(byId("toast"), text);
  byId("toast").hidden = false;
  clearTimeout(confirming);
  confirming = setTimeout(() => (byId("toast").hidden = true), CONFIRMED);
}

function showConnection(state, words) {
  const element = byId("connection");
  if (element.dataset.state === state) return;
  const wasLost = element.dataset.state === "lost";
  element.dataset.state = state;
  say(element, words);
  if (state === "lost") say(byId("announcer"), "The connection is lost");
  else if (wasLost) say(byId("announcer"), "The connection is back");
}

/** The browser tries again where the connection broke, and gives up where it was refused: there are too many viewers. */
const REFUSED_WAIT = 3000;

function listen() {
  const events = new EventSource("/events");
  events.addEventListener("message", ({ data }) => {
    showConnection("live", "Live");
    draw(JSON.parse(data));
  });
  events.addEventListener("error", () => {
    showConnection("lost", "Connection lost, trying again");
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, REFUSED_WAIT);
  });
}

listen();
