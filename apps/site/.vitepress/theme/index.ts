// The reader's own fonts: nothing to load before there is text.
import theme from "vitepress/theme-without-fonts";
// oxlint-disable-next-line import/no-unassigned-import -- the bundler takes it
import "./style.css";

export default theme;
