// Every language that the page speaks; nothing here needs a page.

import { de } from "./de.js";
import { en, type Texts } from "./en.js";

export const LANGUAGES: Record<string, Texts> = { en, de };
