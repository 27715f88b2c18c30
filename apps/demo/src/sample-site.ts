/** The source of the demonstration where the user names none: a few files to edit. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const FILES: Readonly<Record<string, string>> = {
  "index.html": `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <title>Pannier</title>
    <link rel="stylesheet" href="style.css" />
  </head>
  <body>
    <h1>Hello from Pannier</h1>
    <p>Edit this file, or add another, and watch this page.</p>
    <p>What you see is a published copy. The file that you edit is not the file that is served.</p>
    <ul>
      <li><a href="notes/">notes</a></li>
    </ul>
    <footer>revision <code data-revision></code></footer>
    <script src="/-/live.js"></script>
  </body>
</html>
`,
  "style.css": `body {
  max-width: 40em;
  margin: 4em auto;
  padding: 0 1em;
  font: 1.1em/1.5 system-ui, sans-serif;
  color: #222;
  background: #fdfaf5;
}
h1 {
  color: #b4431f;
}
footer {
  margin-top: 3em;
  color: #888;
}
`,
  "notes/first.txt": "A note. Add more of them beside it.\n",
};

export async function writeSampleSite(folder: string): Promise<void> {
  for (const [path, text] of Object.entries(FILES)) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  }
}
