// The language of the page: the one that was chosen, else the first of the browser's that is there.

import type { Texts } from "./en.js";
import { LANGUAGES } from "./languages.js";

export { LANGUAGES };

const KEY = "kith.language";

function pick(): string {
  const wanted = [localStorage.getItem(KEY) ?? "", ...navigator.languages.map((tag) => tag.slice(0, 2))];
  return wanted.find((tag) => tag in LANGUAGES) ?? "en";
}

export const locale = pick();
/** Every word that the page says. */
export const t: Texts = LANGUAGES[locale];
document.documentElement.lang = locale;

/** The page begins anew in another language. */
export function setLanguage(tag: string): void {
  localStorage.setItem(KEY, tag);
  location.reload();
}
