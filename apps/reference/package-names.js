// TypeDoc calls a module by its path; readers know it by what they import.
import { Converter } from "typedoc";

/** @param {import("typedoc").Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? [])
      module.name = module.name.replace(/^(.+)\/src(?:\/index)?/, "@pannier/$1");
  });
}
